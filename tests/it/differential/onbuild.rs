//! `ONBUILD`.

use super::{case, cases};

cases! {
    triggers_are_stored: case("1.9 ONBUILD: stored original text", "FROM scratch\nONBUILD COPY . /src/\nONBUILD RUN a  &&  b\n");
    triggers_fire_first: case("1.9 executed right after FROM in children, then cleared", "FROM earlier\nRUN cat /a > /b\nLABEL own=1\n")
        .files(&["a"])
        .after("earlier", "FROM base\nENV A=1\nONBUILD COPY a /a\nONBUILD RUN echo $A >> /a\nONBUILD LABEL trigger=$A\nENV A=2\n");
    triggers_of_a_stage: case("1.9 stage-inherited ONBUILD runs too", "FROM base AS one\nONBUILD RUN echo x > /x\nFROM one\nRUN cat /x > /y\n");
    grandchildren_do_not_fire: case("1.9 grandchildren don't re-run", "FROM earlier AS one\nRUN echo 1 >> /x\nFROM one\nRUN echo 2 >> /x\n")
        .after("earlier", "FROM base\nONBUILD RUN echo trigger >> /x\n");
    triggers_use_arguments: case("1.9 triggers are expanded when they fire", "FROM earlier\nRUN echo $A $B > /b\n")
        .args(&["--build-arg", "A=3"])
        .after("earlier", "FROM base\nONBUILD ARG A=1\nONBUILD ENV B=b-$A\nONBUILD WORKDIR /w/$A\n");
    triggers_bring_new_dependencies: case("1.9 triggers may add new deps (COPY --from=stage)", "FROM base AS maker\nRUN echo made > /m\nFROM earlier\n")
        .after("earlier", "FROM base\nONBUILD COPY --from=maker /m /m\n")
        .written("Buildah does not find the stage")
        .makes(&["m 0644 made\\n"]);
    triggers_with_heredocs: case("1.9 stored with heredoc bodies", "FROM earlier\n")
        .after("earlier", "FROM base\nENV A=1\nONBUILD COPY <<E /x\n$A\nE\n")
        .written("Buildah 1.28 does not know here-documents")
        .makes(&["x 0644 1\\n"]);
    no_chains: case("1.9 chained ONBUILD", "FROM scratch\nONBUILD ONBUILD RUN x\n").refused(&["Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"]);
    no_from: case("1.9 FROM as a trigger", "FROM scratch\nONBUILD FROM x\n").refused(&["FROM isn't allowed as an ONBUILD trigger"]);
    no_maintainer: case("1.9 MAINTAINER as a trigger", "FROM scratch\nONBUILD MAINTAINER x\n").refused(&["MAINTAINER isn't allowed as an ONBUILD trigger"]);
}
