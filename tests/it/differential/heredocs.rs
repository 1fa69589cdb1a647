//! Here-documents.

use super::{case, cases};

/// All of these are.
const NEW: &str = "Buildah 1.28 does not know here-documents";

cases! {
    a_file_from_text: case("1.3 COPY heredoc: dest itself if not ending in `/`", "FROM scratch\nCOPY <<EOF /d/x\none\n  two\nEOF\n")
        .written(NEW)
        .makes(&["d/ 0755", "d/x 0644 one\\n  two\\n"]);
    a_file_by_its_name: case("1.3 COPY heredoc: file named as the delimiter in dest dir", "FROM scratch\nCOPY <<a.txt <<b.txt /d/\none\na.txt\ntwo\nb.txt\n")
        .written(NEW)
        .makes(&["d/ 0755", "d/a.txt 0644 one\\n", "d/b.txt 0644 two\\n"]);
    variables: case("1.3 COPY heredoc: expansion uses ARG/ENV; quotes preserved", "FROM scratch\nARG A=1\nENV B=2\nCOPY <<EOF /x\n$A \"${B}\" '$A' \\$A \\\\ ${N:-n}\nEOF\n")
        .written(NEW)
        .makes(&["x 0644 1 \\\"2\\\" \\'1\\' $A \\\\ n\\n"]);
    quoted_name: case("1.3 quoted name: no expansion", "FROM scratch\nARG A=1\nCOPY <<'EOF' /x\n$A \\$A\nEOF\nCOPY <<\"E\" /y\n$A\nE\n")
        .written(NEW)
        .makes(&["x 0644 $A \\\\$A\\n", "y 0644 $A\\n"]);
    tabs: case("1.3 `<<-` strips leading TABs", "FROM scratch\nCOPY <<-EOF /x\n\tone\n\t\t two\n\tEOF\n")
        .written(NEW)
        .makes(&["x 0644 one\\n two\\n"]);
    owner_and_mode: case("1.3 mode 0644 (or --chmod), 0:0 (or --chown)", "FROM base\nCOPY --chown=app --chmod=0700 <<EOF /home/x\nx\nEOF\n")
        .written(NEW)
        .makes(&["home/x 0700 1000:1000 x\\n"]);
    beside_files: case("1.3 mixed file + heredoc sources", "FROM scratch\nCOPY a <<EOF /d/\nx\nEOF\n")
        .files(&["a"])
        .written(NEW)
        .makes(&["d/ 0755", "d/EOF 0644 x\\n", "d/a 0644 a"]);
    add_too: case("1.3 ADD heredoc", "FROM scratch\nADD <<EOF /x\nx\nEOF\n").written(NEW).makes(&["x 0644 x\\n"]);
    empty: case("1.3 an empty heredoc", "FROM scratch\nCOPY <<EOF /x\nEOF\n").written(NEW).makes(&["x 0644"]);
    run_lines: case("1.3 RUN heredoc: body passed to SHELL", "FROM base\nARG A=1\nRUN <<EOF\necho $A > /x\nB=2\necho $B >> /x\nEOF\n")
        .written(NEW)
        .makes(&["x 0644 1\\n2\\n"]);
    run_script: case("1.3 RUN heredoc with `#!`", "FROM base\nRUN <<EOF\n#!/bin/sh -e\necho $0 > /x\nEOF\n")
        .written(NEW)
        .makes(&["x 0644 /dev/pipes/EOF\\n"]);
    run_with_input: case("1.3 RUN heredoc re-assembled into one shell string", "FROM base\nRUN cat <<A > /x && cat <<'B' >> /x\n$HOME\nA\n$HOME\nB\n")
        .written(NEW)
        .makes(&["x 0644 /root\\n$HOME\\n"]);
    run_empty: case("1.14 an empty `RUN <<EOF` builds", "FROM base\nRUN <<EOF\nEOF\n").written(NEW).makes(&[]);
    unterminated: case("1.3 missing terminator", "FROM base\nCOPY <<EOF /x\nx\n").refused(&["unterminated heredoc"]);
}
