//! What COPY cannot do.

use super::{case, cases};

cases! {
    a_file_over_a_directory: case("1.8 file over existing dir → error", "FROM base\nCOPY d/ /usr/\n")
        .files(&["d/lib"])
        .refused(&["cannot replace", "/usr/lib"])
        .though_buildah("Buildah replaces the directory");
    a_directory_over_a_file: case("1.8 dir over file → error", "FROM base\nCOPY d /etc/passwd\n")
        .files(&["d/a"])
        .refused(&["not a directory", "/etc/passwd"]);
    a_nested_directory_over_a_file: case("1.8 nested dir over file → error", "FROM base\nCOPY d /etc\n")
        .files(&["d/passwd/a"])
        .refused(&["not a directory", "/etc/passwd"])
        .though_buildah("Buildah replaces the file");
    a_directory_over_a_link: case("1.14 a copied directory that meets a link to a directory", "FROM base\nCOPY d /\n")
        .files(&["d/lib/a"])
        .refused(&["not a directory", "/lib"])
        .though_buildah("Buildah replaces the link");
    a_file_as_a_parent: case("1.8 a file in the destination's way", "FROM base\nCOPY a /etc/passwd/a\n")
        .files(&["a"])
        .refused(&["not a directory", "etc/passwd"]);
    a_missing_source: case("1.8 literal w/o match: not found", "FROM scratch\nCOPY mani.rs /\n")
        .files(&["main.rs"])
        .refused(&["not found", "mani.rs", "did you mean `main.rs`?", "Dockerfile:2:6"]);
    one_missing_of_several: case("1.8 literal w/o match among several", "FROM scratch\nCOPY a none /x/\n").files(&["a"]).refused(&["not found", "`none`"]);
    several_to_one_name: case("1.8 several sources need a directory (our decision)", "FROM scratch\nCOPY a b /x\n")
        .files(&["a", "b"])
        .refused(&["several files", "end the destination with `/`"])
        .though_buildah("Buildah lets the last one win, as BuildKit");
    a_wildcard_of_several_to_one_name: case("1.8 a wildcard of several needs a directory (our decision)", "FROM scratch\nCOPY f* /x\n")
        .files(&["f1", "f2"])
        .refused(&["several files", "end the destination with `/`"])
        .though_buildah("Buildah lets the last one win, as BuildKit");
    a_link_that_leads_nowhere: case("1.8 a link that leads nowhere", "FROM scratch\nCOPY l /x\n").link("l", "nowhere").refused(&["not found", "`l`"]);
    a_wildcard_of_a_dangling_link: case("1.14 a wildcard whose match is a dangling link: not found", "FROM scratch\nCOPY l* /x/\n")
        .link("l1", "nowhere")
        .refused(&["not found", "`l1`"]);
    links_in_a_circle: case("1.8 links in a circle", "FROM scratch\nCOPY l /x\n").link("l", "m").link("m", "l").refused(&["symbolic links"]);
    a_broken_pattern: case("1.8 Go's pattern errors", "FROM scratch\nCOPY a[ /x/\n").files(&["a"]).refused(&["pattern", "a["]);
}
