//! The history that `docker history` shows.

use super::{case, cases};

const OTHER: &str = "Buildah writes histories of another form, and one entry per image";

cases! {
    of_metadata: case(
        "1.10 ENV LABEL ARG USER EXPOSE VOLUME STOPSIGNAL SHELL CMD ENTRYPOINT HEALTHCHECK MAINTAINER ONBUILD",
        "FROM base\nARG a=v b\nENV K=V K2=\"V 2\"\nLABEL k=v \"k 2\"='v 2'\nEXPOSE 80 53/udp\nVOLUME /a /b\nUSER app\n\
         STOPSIGNAL SIGTERM\nSHELL [\"/bin/sh\", \"-ec\"]\nCMD run me\nENTRYPOINT [\"a b\", \"c\"]\n\
         HEALTHCHECK --interval=1s --retries=2 CMD exit 0\nONBUILD RUN x\nMAINTAINER me\n",
    )
    .written(OTHER)
    .history(&[
        "* ARG a=v b",
        "* ENV K=V K2=V 2",
        "* LABEL k=v k 2=v 2",
        "* EXPOSE [80/tcp 53/udp]",
        "* VOLUME [/a /b]",
        "* USER app",
        "* STOPSIGNAL SIGTERM",
        "* SHELL [/bin/sh -ec]",
        "* CMD [\"/bin/sh\" \"-ec\" \"run me\"]",
        "* ENTRYPOINT [\"a b\" \"c\"]",
        "* HEALTHCHECK {Test:[CMD-SHELL exit 0] Interval:1s Timeout:0s StartPeriod:0s StartInterval:0s Retries:2}",
        "* MAINTAINER me",
    ]);
    of_files: case(
        "1.10 COPY ADD WORKDIR",
        "FROM base AS one\nFROM base\nWORKDIR /\nWORKDIR /w\nWORKDIR x\nENV D=d\nCOPY a $D/\nCOPY --chown=app --chmod=700 a b /x/\nCOPY --from=one --link /etc/group /g\n\
         COPY --parents a /p/\nADD a /y\nCOPY <<EOF /h\nx\nEOF\n",
    )
    .files(&["a", "b"])
    .written(OTHER)
    .history(&[
        "* WORKDIR /",
        "WORKDIR /w",
        "WORKDIR /w/x",
        "* ENV D=d",
        "COPY a d/ # buildkit",
        "COPY --chown=app --chmod=700 a b /x/ # buildkit",
        "COPY /etc/group /g # buildkit",
        "COPY --parents a /p/ # buildkit",
        "ADD a /y # buildkit",
        "COPY <<EOF /h # buildkit",
    ]);
    of_commands: case(
        "1.10 RUN shell, exec, with ARGs, heredoc",
        "FROM base\nRUN true  &&   true\nRUN [\"true\", \"a b\"]\nARG A=1\nARG B\nRUN true\nENV A=2\nRUN true\nRUN <<EOF\ntrue\nEOF\n",
    )
    .written(OTHER)
    .history(&[
        "RUN /bin/sh -c true  &&   true # buildkit",
        "RUN true a b # buildkit",
        "* ARG A=1",
        "* ARG B",
        "RUN |2 A=1 B= /bin/sh -c true # buildkit",
        "* ENV A=2",
        "RUN |2 A=2 B= /bin/sh -c true # buildkit",
        "RUN |2 A=2 B= /bin/sh -c true\n # buildkit",
    ]);
    of_inherited_arguments: case("1.6 history for a bare `ARG X` shows the global value", "ARG A=1\nFROM base\nARG A\nARG C=3\n")
        .args(&["--build-arg", "C=4"])
        .written(OTHER)
        .history(&["* ARG A=1", "* ARG C=4"]);
    with_layers_of_nothing: case(
        "1.10 no-op RUN makes a layer, `WORKDIR /` and EXPOSE none",
        "FROM base AS one\nRUN echo x > /x\nFROM base\nLABEL a=b\nCOPY --from=one /x /x\nWORKDIR /\nRUN true\nRUN [\"true\"]\nEXPOSE 80\n",
    )
    .written(OTHER)
    .history(&[
        "* LABEL a=b",
        "COPY /x /x # buildkit",
        "* WORKDIR /",
        "RUN /bin/sh -c true # buildkit",
        "RUN true # buildkit",
        "* EXPOSE [80/tcp]",
    ]);
    of_stages: case("1.5 FROM earlier-stage inherits history", "FROM base AS one\nENV A=1\nCOPY a /a\nFROM one\nCMD [\"x\"]\n")
        .files(&["a"])
        .written(OTHER)
        .history(&["* ENV A=1", "COPY a /a # buildkit", "* CMD [\"x\"]"]);
}
