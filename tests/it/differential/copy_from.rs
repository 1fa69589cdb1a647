//! `COPY --from`.

use super::{case, cases};

cases! {
    a_stage_by_name: case("1.8 --from=stage", "FROM base AS one\nRUN mkdir -p /d/e && echo x > /d/e/x\nFROM scratch\nCOPY --from=one /d /x\nCOPY --from=one d/e/x /y/\n");
    a_stage_by_number: case("1.8 --from=index", "FROM scratch\nCOPY a /a\nFROM scratch\nCOPY b /b\nFROM scratch\nCOPY --from=0 /a /x\nCOPY --from=1 /b /y\n").files(&["a", "b"]);
    an_image: case("1.8 --from=image", "FROM scratch\nCOPY --from=base /etc/passwd /x\nCOPY --from=base:latest /home /home\n");
    an_image_of_ours: case("1.8 --from=image, built before", "FROM scratch\nCOPY --from=earlier /home /x\n")
        .after("earlier", "FROM base\nRUN echo new > /home/new && rm /etc/group\n");
    owners_and_modes_are_kept: case(
        "1.8 from stage/image uid/gid kept",
        "FROM base AS one\nRUN mkdir /d && echo x > /d/x && chown app:staff /d/x && chmod 4750 /d/x && mkdir -m 1770 /d/e && chown 5:6 /d/e && ln -s x /d/l\n\
         FROM base\nCOPY --from=one /d /d\nCOPY --from=one /d/x /y\n",
    );
    the_directory_itself_is_ours: case("1.8 newly made dest dir: 0:0 0755", "FROM base AS one\nRUN mkdir -m 700 /d && chown 5:6 /d && echo x > /d/x\nFROM scratch\nCOPY --from=one /d /d\n");
    hard_links_are_kept: case("1.8 hard links preserved within one copy", "FROM scratch\nCOPY --from=base /usr/lib /x\n");
    one_of_two_names: case("1.8 one name of a hard-linked pair", "FROM scratch\nCOPY --from=base /usr/lib/two /x\n");
    links_are_followed_in_the_stage: case("1.8 source links are resolved in their own root", "FROM base AS one\nRUN ln -s /etc /abs && ln -s abs/group /g\nFROM scratch\nCOPY --from=one /abs/passwd /x\nCOPY --from=one /g /y\nCOPY --from=one /lib/one /z\n");
    a_linked_directory: case("1.8 a source link to a directory", "FROM scratch\nCOPY --from=base /lib /x\nCOPY --from=base /lib/ /y/\n");
    wildcards: case("1.8 wildcards in a stage", "FROM scratch\nCOPY --from=base /etc/[gp]* /usr/lib/t?o /x/\n");
    dockerignore_does_not_apply: case("1.8 .dockerignore does not apply", "FROM scratch AS one\nCOPY a /b\nFROM scratch\nCOPY --from=one /b /b\n").files(&["a"]).file(".dockerignore", "b\n");
    what_was_removed_is_gone: case("1.8 the stage's files as they are at its end", "FROM base AS one\nRUN rm -r /usr/lib && mkdir /usr/lib && echo x > /usr/lib/x\nFROM scratch\nCOPY --from=one /usr /usr\n");
    everything: case("1.8 --from=stage /", "FROM base AS one\nRUN rm /bin/busybox && ls / >/dev/null || true\nFROM scratch\nCOPY --from=one / /\n");
    into_itself: case("1.8 --from=stage over the same base", "FROM base AS one\nCOPY a /etc/group\nFROM base\nCOPY --from=one /etc /etc\n").files(&["a"]);
    a_missing_file: case("1.8 literal w/o match in a stage", "FROM scratch\nCOPY --from=base /etc/pass /x\n").refused(&["not found", "/etc/pass", "Dockerfile:2:18"]);
}
