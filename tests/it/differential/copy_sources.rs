//! Which files COPY takes.

use super::{case, cases};

cases! {
    the_whole_context: case("1.8 `.` = everything", "FROM scratch\nCOPY . /x/\n").files(&["a", "d/b", ".hidden/c"]);
    everything_by_a_slash: case("1.8 `/` = everything", "FROM scratch\nCOPY / /x\n").files(&["a", "d/b"]);
    nothing_is_above: case("1.8 src is cleaned against the context root (`../x` → `x`)", "FROM scratch\nCOPY ../a /x\nCOPY d/../../a /y\nCOPY /a /z\n")
        .files(&["a", "d/b"]);
    a_star: case("1.8 wildcard `*`", "FROM scratch\nCOPY *.txt /x/\nCOPY a* /y/\n").files(&["a.txt", "b.txt", "b.md", "ab", ".txt"]);
    a_star_takes_hidden_files: case("1.8 `*` is Go's: hidden files match", "FROM scratch\nCOPY * /x/\n").files(&["a", ".hidden"]);
    a_question_mark: case("1.8 wildcard `?`", "FROM scratch\nCOPY a? /x/\nCOPY a?? /y/\n").files(&["a", "a1", "a22"]);
    a_class: case("1.8 wildcard `[a-c]`, `[^x]`", "FROM scratch\nCOPY f[a-b] /x/\nCOPY f[^a-b] /y/\n").files(&["fa", "fb", "fc"]);
    wildcards_and_links: case("1.8 links behind the first wildcard are not entered", "FROM scratch\nCOPY */f l/*/g /x/\nCOPY [l]*/f none* a /y/\n")
        .files(&["a", "d/f", "d/e/g"])
        .link("l", "d")
        .written("Buildah enters them")
        .makes(&["x/ 0755", "x/f 0644 d/f", "x/g 0644 d/e/g", "y/ 0755", "y/a 0644 a"]);
    an_escaped_wildcard: case("1.8 `\\` in front of a wildcard", "FROM scratch\nCOPY [\"[f]\\\\\\\\*\", \"/x/\"]\nCOPY g[*] /y/\n")
        .files(&["f*", "fa", "g*", "ga"])
        .written("Buildah takes what is escaped for wildcards all the same")
        .makes(&["x/ 0755", "x/f* 0644 f*", "y/ 0755", "y/g* 0644 g*"]);
    wildcards_in_directories: case("1.8 wildcards, per path element", "FROM scratch\nCOPY */f /x/\nCOPY d*/e/f? /y/\n").files(&["a/f", "d1/e/f1", "d2/e/f2", "d2/f2"]);
    a_wildcard_of_directories: case("1.8 directories that match: their contents", "FROM scratch\nCOPY d* /x/\n").files(&["d1/a", "d2/b", "d3"]);
    no_match: case("1.8 wildcard w/o match: nothing copied", "FROM scratch\nCOPY a none* /x/\n")
        .files(&["a"]);
    nothing_at_all: case("1.8 wildcard w/o match: OK", "FROM scratch\nCOPY none* /x/\nCOPY a /a\n")
        .files(&["a"])
        .written("Buildah wants at least one file")
        .makes(&["a 0644 a"]);
    a_link_is_followed: case("1.8 a source path is followed", "FROM scratch\nCOPY l /x\nCOPY l /y/\n").files(&["d/a"]).link("l", "d/a");
    a_linked_directory_is_followed: case("1.8 a source link to a directory", "FROM scratch\nCOPY l /x\nCOPY l/e /y\n").files(&["d/a", "d/e/b"]).link("l", "d");
    links_inside_stay_links: case("1.8 symlinks found while walking dirs are copied as symlinks", "FROM scratch\nCOPY d /x\n")
        .files(&["d/a", "b"])
        .link("d/rel", "a")
        .link("d/out", "../b")
        .link("d/abs", "/etc/passwd")
        .link("d/dangling", "nowhere");
    links_that_a_wildcard_matches: case("1.8 wildcard matches are followed", "FROM scratch\nCOPY l* /x/\n")
        .files(&["a", "d/b"])
        .link("l1", "a")
        .link("l2", "d");
    links_stay_in_the_context: case("1.8 links are followed inside the context root, never outside", "FROM scratch\nCOPY l /x\nCOPY m/f /y\n")
        .files(&["etc/f"])
        .link("l", "/etc/f")
        .link("m", "../../../../etc");
    capabilities_are_kept: case("1.8 xattrs best effort; 1.14 only security.capability survives", "FROM base AS one\nCOPY a /x\nRUN echo x > /y && cp /x /z\nFROM base\nCOPY --from=one /x /y /d/\nCOPY --chown=app --chmod=750 a /e\n")
        .files(&["a"])
        .capability("a");
    modes_are_kept: case("1.8 mode kept", "FROM scratch\nCOPY . /x/\n")
        .files(&["a", "b", "c", "d/e"])
        .mode("a", 0o755)
        .mode("b", 0o400)
        .mode("c", 0o666)
        .mode("d", 0o700);
    special_bits_are_kept: case("1.8 mode kept: setuid, setgid, sticky", "FROM scratch\nCOPY d /x\nCOPY d/a /y\n")
        .files(&["d/a", "d/b", "d/s/c"])
        .mode("d/a", 0o4755)
        .mode("d/b", 0o2755)
        .mode("d/s", 0o1777)
        .written("Buildah drops them")
        .makes(&["x/ 0755", "x/a 4755 d/a", "x/b 2755 d/b", "x/s/ 1777", "x/s/c 0644 d/s/c", "y 4755 d/a"]);
    hard_links_are_kept: case("1.8 hard links preserved within one copy", "FROM scratch\nCOPY d /x\n").files(&["d/a"]).hard_link("d/b", "d/a");
    empty_things: case("1.8 empty files and directories", "FROM scratch\nCOPY . /x/\nCOPY e /y\n").file("a", "").directory("e").directory("d/e");
    sockets: case("1.8 sockets → empty regular file when from the context", "FROM scratch\nCOPY d /x\n").files(&["d/a"]).socket("d/s")
        .written("Buildah leaves sockets out")
        .makes(&["x/ 0755", "x/a 0644 d/a", "x/s 0755"]);
    named_pipes: case("1.8 devices and FIFOs: copied", "FROM scratch\nCOPY d /x\n").files(&["d/a"]).fifo("d/p");
    odd_names: case("1.8 names are bytes", "FROM scratch\nCOPY . /x/\nCOPY ü /y/\n").files(&["ü", "a b", "-a", "a=b", "#a", "a\\b", "$A"]);
    a_long_name: case("1.8 names of any length", "FROM scratch\nCOPY d /x\n").files(&[
        "d/a-name-that-is-longer-than-a-tar-header-can-hold-in-its-hundred-bytes-so-that-it-needs-an-extended-header-for-it",
    ]);
    the_dockerfile_itself: case("1.11 the Dockerfile is a file of the context", "FROM scratch\nCOPY Dockerfile /\n");
}
