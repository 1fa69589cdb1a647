//! `.dockerignore`.

use super::{case, cases};

/// Copies everything.
const ALL: &str = "FROM scratch\nCOPY . /x/\n";

cases! {
    names: case("1.11 one pattern per line", ALL).files(&["a", "b", "d/a", "d/e"]).file(".dockerignore", "a\nd/e\n");
    comments_and_blanks: case("1.11 `#` at col 0 comment; trimmed; path.Clean; leading `/` removed", ALL)
        .files(&["a", "b", "c", "d/e", "#f"])
        .file(".dockerignore", "# a\n\n  b  \n/c\n./d/../d/e\n");
    wildcards: case("1.11 wildcards do not cross directories", ALL).files(&["a.o", "d/a.o", "b1", "b22"]).file(".dockerignore", "*.o\nb?\n");
    any_depth: case("1.11 `**` any depth", ALL).files(&["a.o", "d/a.o", "d/e/a.o", "d/e/b"]).file(".dockerignore", "**/*.o\n");
    a_directory: case("1.11 a directory match excludes children", ALL).files(&["a", "d/b", "d/e/c"]).file(".dockerignore", "d\n");
    exceptions: case("1.11 `!` negation, last match wins", ALL).files(&["a.md", "b.md", "c.md"]).file(".dockerignore", "*.md\n!b.md\n!c.md\nc*\n");
    exceptions_in_directories: case("1.11 `!child` re-includes", ALL).files(&["a", "d/b", "d/c", "d/e/f"]).file(".dockerignore", "*\n!d/b\n!d/e\n");
    directories_taken_in_again: case("1.11 `!child` re-includes (parent dirs re-created)", ALL)
        .files(&["d/e/f/g", "d/e/h"])
        .mode("d", 0o700)
        .mode("d/e", 0o711)
        .file(".dockerignore", "d\n!d/e/f\n")
        .written("Buildah makes them 0755; BuildKit keeps their modes")
        .makes(&[
            "x/ 0755",
            "x/.dockerignore 0644 d\\n!d/e/f\\n",
            "x/Dockerfile 0644 FROM scratch\\nCOPY . /x/\\n",
            "x/d/ 0700",
            "x/d/e/ 0711",
            "x/d/e/f/ 0755",
            "x/d/e/f/g 0644 d/e/f/g",
        ]);
    everything_but: case("1.11 `*` and exceptions", "FROM scratch\nCOPY . /x/\nCOPY d /y\n").files(&["a", "d/b", "d/c"]).file(".dockerignore", "*\n!d\nd/c\n");
    a_dot: case("1.11 `.` ignored", ALL).files(&["a"]).file(".dockerignore", ".\nb\n");
    the_files_themselves: case("1.11 Dockerfile/.dockerignore may be ignored", ALL).files(&["a"]).file(".dockerignore", "Dockerfile\n.dockerignore\n");
    ignored_is_not_found: case("1.11 COPY of an ignored path → not found", "FROM scratch\nCOPY a /a\n").files(&["a"]).file(".dockerignore", "a\n").refused(&["not found", "`a`"]);
    of_a_dockerfile: case("1.11 `<Dockerfile path>.dockerignore` first", ALL)
        .files(&["a", "b"])
        .file(".dockerignore", "a\n")
        .file("Dockerfile.dockerignore", "b\n");
    a_wildcard_source: case("1.11 wildcards see what is left", "FROM scratch\nCOPY *.c /x/\n").files(&["a.c", "b.c"]).file(".dockerignore", "a.c\n");
    a_lone_exclamation: case("1.11 lone `!` → illegal exclusion pattern", ALL).files(&["a"]).file(".dockerignore", "!\n").refused(&["illegal exclusion pattern: \"!\""]);
}
