//! `WORKDIR`.

use serde_json::json;

use super::{case, cases};

cases! {
    absolute_and_relative: case("1.9 WORKDIR: relative joined to previous", "FROM scratch\nWORKDIR /a\nWORKDIR b/c\nWORKDIR ../d\n");
    relative_to_the_root: case("1.9 WORKDIR: default \"/\"", "FROM scratch\nWORKDIR a\n");
    the_root: case("1.9 `WORKDIR /` makes no layer", "FROM base\nWORKDIR /w\nWORKDIR /\n");
    cleaned: case("1.9 WORKDIR: path.Clean", "FROM scratch\nWORKDIR /a/./b//../c/\n")
        .written("Buildah keeps the path as written")
        .makes(&["a/ 0755", "a/c/ 0755"])
        .config("WorkingDir", json!("/a/c"));
    an_existing_directory: case("1.9 existing dir untouched", "FROM base\nUSER app\nWORKDIR /tmp\nWORKDIR /home/app\n");
    through_a_link: case("1.9 WORKDIR through a link", "FROM base\nWORKDIR /lib/x\nCOPY a .\n").files(&["a"]);
    of_a_user: case("1.9 owner = current USER if set", "FROM base\nUSER app\nWORKDIR /w/x\nRUN echo x > a\n");
    of_a_numeric_user: case("1.14 WORKDIR under `USER 90` makes directories 90:90", "FROM base\nUSER 90\nWORKDIR /w\n");
    deleted: case("1.14 a working directory that was deleted is made again by the next step", "FROM base\nWORKDIR /w/x\nRUN rm -r /w\nRUN pwd > a\n");
    not_by_copies: case("1.14 … also when the next step is a COPY into it", "FROM base\nWORKDIR /w/x\nRUN rm -r /w\nCOPY a .\n").files(&["a"]);
    of_the_base: case("1.5 FROM earlier-stage inherits WORKDIR", "FROM base AS one\nWORKDIR /w\nFROM one\nWORKDIR x\nCOPY a .\n").files(&["a"]);
    quoted: case("1.4 WORKDIR is expanded", "FROM scratch\nENV D=/a\nWORKDIR $D/b\nWORKDIR \"c d\"\nWORKDIR ${N:-e}\n");
}
