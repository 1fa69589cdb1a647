//! `--chown`, `--chmod`, `--parents`, `--exclude`, `--link`.

use super::{case, cases};

/// Of what this Buildah has no idea.
const NEW: &str = "Buildah 1.28 does not know the flag";

cases! {
    chown_a_number: case("1.8 --chown: only uid → gid=uid", "FROM base\nCOPY --chown=7 a /x/\nCOPY --chown=8 d /y\n").files(&["a", "d/b"]);
    chown_two_numbers: case("1.8 --chown=u:g", "FROM scratch\nCOPY --chown=7:8 a d /x/\n").files(&["a", "d/e/b"]).link("d/l", "e");
    chown_into_an_existing_directory: case("1.8 an existing dir's owner is not altered", "FROM base\nCOPY --chown=7:8 a d /home/app/\nCOPY --chown=app /d/e /tmp\n")
        .files(&["a", "d/e/b"])
        .link("d/l", "e");
    chown_a_name: case("1.8 --chown: name only → passwd gid", "FROM base\nCOPY --chown=app a /home/a\nCOPY --chown=app:staff a /home/b\nCOPY --chown=7:app a /home/c\nCOPY --chown=app:9 a /home/d\n")
        .files(&["a"]);
    chown_looks_in_the_destination: case("1.8 lookups in /etc/passwd of the DEST rootfs", "FROM base\nRUN echo new:x:77:78::/:/bin/sh >> /etc/passwd\nCOPY --chown=new a /tmp/a\n").files(&["a"]);
    chown_an_unknown_name: case("1.8 unknown --chown name (our decision)", "FROM base\nCOPY --chown=nobody-knows a /a\n").files(&["a"])
        .refused(&["`nobody-knows` is not in the image's /etc/passwd", "Dockerfile:2:"]);
    chown_an_unknown_group: case("1.8 unknown --chown group (our decision)", "FROM base\nADD --chown=app:wheel a /a\n").files(&["a"])
        .refused(&["`wheel` is not in the image's /etc/group"]);
    chown_of_a_stages_files: case("1.8 --chown with --from", "FROM base AS one\nRUN mkdir /d && echo x > /d/x && chown -R 5:6 /d\nFROM base\nCOPY --from=one --chown=app /d /home/app\n");
    add_takes_chown: case("1.8 ADD --chown", "FROM base\nADD --chown=app:app a d /tmp/\n").files(&["a", "d/b"]);
    chmod_in_octal: case("1.8 --chmod: octal", "FROM base\nCOPY --chmod=640 a /home/a\nCOPY --chmod=0755 a /home/b\nCOPY --chmod=4711 a /home/c\n").files(&["a"]);
    chmod_of_directories: case("1.8 --chmod applies to everything incl. dirs", "FROM base\nCOPY --chmod=750 d /home\n").files(&["d/a", "d/e/b"]).link("d/l", "a");
    chmod_of_parents: case("1.14 --chmod in octal also applies to parents, without special bits", "FROM base\nCOPY --chmod=4711 a /x/y/\n").files(&["a"])
        .written("Buildah makes parents 0755")
        .makes(&["x/ 0711", "x/y/ 0711", "x/y/a 4711 a"]);
    chmod_symbolic: case("1.8 --chmod: symbolic", "FROM base\nCOPY --chmod=+x a /x/\nCOPY --chmod=u=rwX,go=rX d /y\nCOPY --chmod=g=u,o= a /z\n")
        .files(&["a", "d/a", "d/e/b"])
        .mode("d/e", 0o700)
        .mode("d/a", 0o700)
        .written("Buildah takes octal modes only")
        .makes(&["x/ 0755", "x/a 0755 a", "y/ 0755", "y/a 0755 d/a", "y/e/ 0755", "y/e/b 0644 d/e/b", "z 0660 a"]);
    chmod_is_expanded: case("1.4 applied to --chmod", "FROM scratch\nARG M=640\nCOPY --chmod=$M a /a\nADD --chmod=${N:-600} a /b\n").files(&["a"]);
    chmod_from_a_stage: case("1.8 --chmod with --from", "FROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY --from=one --chmod=700 /a /a\n").files(&["a"]);
    chmod_of_nonsense: case("1.8 --chmod: other garbage", "FROM scratch\nCOPY --chmod=999 a /a\n").files(&["a"])
        .refused(&["invalid chmod parameter: '999'. it should be octal string and between 0 and 07777"]);
    parents: case("1.8 --parents: keep src parents", "FROM scratch\nCOPY --parents d/e/a b /x/\nCOPY --parents d/e /y/\n")
        .files(&["d/e/a", "b"])
        .mode("d", 0o700)
        .written(NEW)
        .makes(&[
            "x/ 0755", "x/b 0644 b", "x/d/ 0700", "x/d/e/ 0755", "x/d/e/a 0644 d/e/a",
            "y/ 0755", "y/d/ 0700", "y/d/e/ 0755", "y/d/e/a 0644 d/e/a",
        ]);
    parents_with_a_pivot: case("1.8 --parents: `/./` pivot", "FROM scratch\nCOPY --parents d/./e/a /x/\nCOPY --parents ./d/e/./a /y/\n")
        .files(&["d/e/a"])
        .written(NEW)
        .makes(&["x/ 0755", "x/e/ 0755", "x/e/a 0644 d/e/a", "y/ 0755", "y/a 0644 d/e/a"]);
    parents_with_wildcards: case("1.8 --parents: `**` wildcards, wildcard empty OK", "FROM scratch\nCOPY --parents **/*.c none* /x/\nCOPY --parents d/*/b.c /y/\n")
        .files(&["a.c", "a.h", "d/e/b.c", "d/e/b.h", "f/g/h.h"])
        .written(NEW)
        .makes(&[
            "x/ 0755", "x/a.c 0644 a.c", "x/d/ 0755", "x/d/e/ 0755", "x/d/e/b.c 0644 d/e/b.c",
            "y/ 0755", "y/d/ 0755", "y/d/e/ 0755", "y/d/e/b.c 0644 d/e/b.c",
        ]);
    parents_missing: case("1.8 --parents: literal missing → error", "FROM scratch\nCOPY --parents d/none /x/\n").files(&["d/a"]).refused(&["not found", "d/none"]);
    parents_through_a_link: case("1.14 --parents: the source path may not pass through a link", "FROM scratch\nCOPY --parents l/a /x/\n").files(&["d/a"]).link("l", "d")
        .refused(&["symbolic link `l`"]);
    parents_of_a_link: case("1.14 --parents: a link as the source stays a link", "FROM scratch\nCOPY --parents d/l /x/\n").files(&["a"]).link("d/l", "../a")
        .written(NEW)
        .makes(&["x/ 0755", "x/d/ 0755", "x/d/l -> ../a"]);
    parents_from_a_stage: case("1.8 --parents with --from", "FROM base AS one\nRUN mkdir -p /d/e && echo x > /d/e/x && chown 5:6 /d\nFROM scratch\nCOPY --from=one --parents /d/e/x /x/\n")
        .written(NEW)
        .makes(&["x/ 0755", "x/d/ 0755 5:6", "x/d/e/ 0755", "x/d/e/x 0644 x\\n"]);
    exclude: case("1.8 --exclude=pat repeatable", "FROM scratch\nCOPY --exclude=*.h --exclude=e/*.o d /x\n")
        .files(&["d/a.c", "d/a.h", "d/e/b.h", "d/e/b.o", "d/e/b.c"])
        .written(NEW)
        .makes(&["x/ 0755", "x/a.c 0644 d/a.c", "x/e/ 0755", "x/e/b.c 0644 d/e/b.c", "x/e/b.h 0644 d/e/b.h"]);
    exclude_deep: case("1.8 --exclude: `**` and `!`", "FROM scratch\nCOPY --exclude=**/*.h --exclude=!**/keep.h . /x/\n")
        .files(&["a.h", "a.c", "e/b.h", "e/keep.h"])
        .written(NEW)
        .makes(&["x/ 0755", "x/Dockerfile 0644 FROM scratch\\nCOPY --exclude=**/*.h --exclude=!**/keep.h . /x/\\n", "x/a.c 0644 a.c", "x/e/ 0755", "x/e/keep.h 0644 e/keep.h"]);
    exclude_a_directory: case("1.8 --exclude of a directory", "FROM scratch\nADD --exclude=e --exclude=!e/f d /x\n")
        .files(&["d/a", "d/e/b", "d/e/f/c"])
        .mode("d/e", 0o700)
        .written(NEW)
        .makes(&["x/ 0755", "x/a 0644 d/a", "x/e/ 0700", "x/e/f/ 0755", "x/e/f/c 0644 d/e/f/c"]);
    exclude_is_not_expanded: case("1.4 not expanded: --exclude", "FROM scratch\nENV A=*.h\nCOPY --exclude=$A d /x\n").files(&["d/a.h"])
        .written(NEW)
        .makes(&["x/ 0755", "x/a.h 0644 d/a.h"]);
    exclude_not_the_source: case("1.14 --exclude does not exclude a source that is itself named", "FROM scratch\nCOPY --exclude=a* --exclude=/d/b a d ab* /x/\n")
        .files(&["a", "ab", "d/b", "d/ac"])
        .written(NEW)
        .makes(&["x/ 0755", "x/a 0644 a", "x/ab 0644 ab", "x/b 0644 d/b"]);
    link: case("1.8 --link: parent dirs 0755/root", "FROM base\nCOPY --link a /home/app/x/\nCOPY --link d /opt\n").files(&["a", "d/b"])
        .written(NEW)
        .makes(&["home/app/ 0755", "home/app/x/ 0755", "home/app/x/a 0644 a", "opt/ 0755", "opt/b 0644 d/b"]);
    link_over_links: case("1.8 --link: symlinks in dest not followed – replaced by dirs", "FROM base\nCOPY --link a /lib/\n").files(&["a"])
        .written(NEW)
        .makes(&["lib/ 0755", "lib/a 0644 a"]);
    link_with_a_mode: case("1.8 --link: --chmod disables it", "FROM base\nCOPY --link --chmod=700 a /lib/\nCOPY --link --chmod=u+x d /home/app/\n").files(&["a", "d/b"])
        .written(NEW)
        .makes(&["home/app/b 0744 d/b", "usr/lib/a 0700 a"]);
    link_with_an_owner: case("1.8 --link with --chown by name and --chmod", "FROM base\nCOPY --link --chown=app:staff --chmod=700 a /opt/\n").files(&["a"])
        .written(NEW)
        .makes(&["opt/ 0700 1000:50", "opt/a 0700 1000:50 a"]);
}
