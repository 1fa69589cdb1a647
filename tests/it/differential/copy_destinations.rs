//! Where COPY puts things.

use super::{case, cases};

cases! {
    into_a_missing_directory: case("1.8 dest ending `/` is a directory", "FROM scratch\nCOPY a /x/y/\n").files(&["a"]);
    to_a_new_name: case("1.8 dest without `/`: the name", "FROM scratch\nCOPY a /x/y\n").files(&["a"]);
    into_an_existing_directory: case("1.8 an existing directory is a directory", "FROM scratch\nCOPY a /d/\nCOPY b /d\n").files(&["a", "b"]);
    relative_to_the_working_directory: case("1.8 dest relative → joined to WORKDIR", "FROM scratch\nWORKDIR /w\nCOPY a b\nCOPY a d/\nCOPY a ../up\n").files(&["a"]);
    to_a_dot: case("1.8 \".\" is a directory", "FROM scratch\nWORKDIR /w/x\nCOPY a .\nCOPY b ./\nCOPY c ..\n").files(&["a", "b", "c"]);
    to_a_slash_dot: case("1.8 dest ending `/.` is a directory", "FROM scratch\nCOPY a /x/.\n").files(&["a"])
        .written("Buildah takes `x/.` for a name")
        .makes(&["x/ 0755", "x/a 0644 a"]);
    to_the_root: case("1.8 dest `/`", "FROM scratch\nCOPY a d /\n").files(&["a", "d/b"]);
    several_into_a_directory: case("1.8 several sources", "FROM scratch\nCOPY a b d /x/\n").files(&["a", "b", "d/c"]);
    several_into_an_existing_directory: case("1.8 several sources, existing directory", "FROM base\nCOPY a b /home\n").files(&["a", "b"]);
    a_directorys_contents: case("1.8 dir source copies CONTENTS only", "FROM scratch\nCOPY d /x\nCOPY d/ /y/\nCOPY d/. /z\n").files(&["d/a", "d/e/b"]);
    a_directory_into_an_existing_one: case("1.8 directories merge", "FROM scratch\nCOPY one /x\nCOPY two /x\n").files(&["one/a", "one/d/b", "two/a", "two/d/c"]);
    through_a_linked_directory: case("1.8 dest path symlinks followed", "FROM base\nCOPY a /lib/\nCOPY a /lib/deep/a\n").files(&["a"]);
    to_a_linked_directory: case("1.8 dest is a link to a directory", "FROM base\nCOPY a /lib\nCOPY d /lib\n").files(&["a", "d/b"]);
    an_absolute_link: case("1.8 dest links stay inside the rootfs", "FROM base\nRUN ln -s /etc /abs && ln -s ../../../etc /up\nCOPY a /abs/\nCOPY b /up/\n").files(&["a", "b"]);
    a_link_that_leads_nowhere_yet: case("1.8 dest through a dangling link", "FROM base\nRUN ln -s /new/place /l\nCOPY d /l/\n")
        .files(&["d/a"]);
    onto_a_link_to_a_file: case("1.14 a file onto a symlink writes through the link", "FROM base\nRUN ln -s etc/group /l\nCOPY a /l\n")
        .files(&["a"])
        .written("Buildah replaces the link")
        .makes(&["etc/group 0644 a", "l -> etc/group"]);
    onto_a_dangling_link: case("1.14 … also a dangling one", "FROM base\nRUN ln -s usr/new /l\nCOPY a /l\n")
        .files(&["a"])
        .written("Buildah makes a directory where the link leads")
        .makes(&["l -> usr/new", "usr/new 0644 a"]);
    a_file_over_a_file: case("1.8 a file replaces a file", "FROM base\nCOPY a /etc/group\n").files(&["a"]).mode("a", 0o600);
    one_name_of_two: case("1.8 a file replaces one name of a hard-linked pair", "FROM base\nCOPY a /usr/lib/one\n").files(&["a"]);
    missing_parents: case("1.8 newly made parents: 0:0 0755", "FROM base\nUSER app\nCOPY a /x/y/z/\nCOPY d /home/app/p/q\n")
        .files(&["a", "d/b"])
        .mode("d", 0o700);
    existing_directories_stay: case("1.8 an EXISTING dest dir's metadata is not altered", "FROM base\nCOPY a /home/app/\nCOPY d /tmp/\nCOPY d /root\n")
        .files(&["a", "d/b"])
        .mode("d", 0o711);
    nested_directories_change: case("1.8 nested dirs that exist get src metadata", "FROM base\nCOPY d /home\n").files(&["d/app/b"]).mode("d/app", 0o711);
    a_path_with_dots: case("1.8 dest is cleaned", "FROM scratch\nCOPY a /x/../y/./z//w\nCOPY a /../../v\n").files(&["a"]);
    words_with_blanks: case("1.8 JSON form takes blanks", "FROM scratch\nCOPY [\"a b\", \"/x y/\"]\nADD [\"a b\", \"c\", \"/z/\"]\n").files(&["a b", "c"]);
    add_is_like_copy: case("1.8 ADD of local files and directories", "FROM scratch\nADD a /x/\nADD d /y\nADD a d /z/\n").files(&["a", "d/b"]);
    the_same_twice: case("1.8 the last of two copies wins", "FROM scratch\nCOPY a /x\nCOPY b /x\n").files(&["a", "b"]);
}
