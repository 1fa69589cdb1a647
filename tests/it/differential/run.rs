//! What RUN executes, and what of it ends up in the image.

use super::{case, cases};

cases! {
    new_files: case("1.7 files that a RUN makes", "FROM base\nRUN mkdir -p /d/e && echo x > /d/e/x && ln -s x /d/e/l && mkfifo /d/p && : > /d/empty\n");
    changed_files: case("1.7 files that a RUN changes", "FROM base\nRUN echo more >> /etc/group && chmod 600 /etc/passwd\n");
    removed_files: case("1.7 files that a RUN removes", "FROM base\nRUN rm /etc/group && rm -r /home && rm /lib\n");
    renamed_files: case("1.7 renames", "FROM base\nRUN mv /etc/group /etc/group2 && mv /home /house && mv /lib /l\n");
    a_rename_over_a_twin: case("1.14 a file moved over one of the same size and time is in the layer", "FROM base\nRUN echo 1 > /f && echo 2 > /g && touch -d @1000000 /f /g\nRUN mv /f /g\n");
    hard_links: case("1.7 hard links", "FROM base\nRUN echo x > /a && ln /a /b && ln /etc/group /etc/group2\n")
        .written("Buildah on vfs copies files that are linked to the base's")
        .makes(&["a 0644 x\\n", "b = a", "etc/group2 = etc/group"]);
    a_new_name_of_an_old_file: case("1.7 a hard link to a file of the base", "FROM base\nRUN ln /usr/lib/one /usr/lib/three\nRUN rm /usr/lib/two\n")
        .written("Buildah on vfs copies files that are linked to the base's")
        .makes(&["usr/lib/three = usr/lib/one", "- usr/lib/two"]);
    one_name_is_rewritten: case("1.7 a change through one of two names", "FROM base\nRUN echo more >> /usr/lib/two\n")
        .written("on an overlay, as in BuildKit, the two names part")
        .makes(&["usr/lib/two 0644 linked\\nmore\\n"]);
    modes: case("1.7 modes, special bits too", "FROM base\nRUN echo x > /a && chmod 4755 /a && mkdir /d && chmod 3770 /d && chmod 700 /home && chmod u+s /bin/busybox\n");
    owners: case("1.7 owners", "FROM base\nRUN echo x > /a && chown app:staff /a && chown -R 5:6 /home && ln -s a /l && chown -h 7:8 /l\n");
    a_directory_becomes_a_file: case("1.7 a directory becomes a file", "FROM base\nRUN rm -r /home && echo x > /home\n");
    a_file_becomes_a_directory: case("1.7 a file becomes a directory", "FROM base\nRUN rm /etc/group && mkdir /etc/group && echo x > /etc/group/x\n");
    a_link_becomes_a_directory: case("1.7 a link becomes a directory", "FROM base\nRUN rm /lib && mkdir /lib && echo x > /lib/x\n");
    a_directory_is_made_anew: case("1.7 a directory removed and made again is empty", "FROM base\nRUN rm -r /usr/lib && mkdir /usr/lib && echo x > /usr/lib/three\n");
    made_and_removed: case("1.7 what is gone at the end was never there", "FROM base\nRUN echo x > /x\nRUN rm /x\nRUN mkdir /d && rmdir /d\n");
    nothing: case("1.10 no-op RUN", "FROM base\nRUN true\n");
    an_exec_form: case("1.7 exec form: argv directly", "FROM base\nRUN [\"sh\", \"-c\", \"echo $0 \\\"$1\\\" > /a\", \"name\", \"two words\"]\n");
    the_images_path: case("1.7 PATH lookup with the image's PATH", "FROM base\nRUN mkdir /mine && printf '#!/bin/sh\\necho found > /a\\n' > /mine/tool && chmod +x /mine/tool\nENV PATH=/mine:$PATH\nRUN [\"tool\"]\n");
    the_entrypoint_is_ignored: case("1.7 image ENTRYPOINT is ignored", "FROM base\nENTRYPOINT [\"false\"]\nRUN echo x > /a\n");
    the_working_directory: case("1.7 cwd = WORKDIR", "FROM base\nWORKDIR /w\nRUN pwd > a\nWORKDIR x\nRUN pwd > a\n");
    the_user: case("1.7 USER name → uid + primary gid + supplementary groups", "FROM base\nUSER app\nRUN id -u > /tmp/a && id -g >> /tmp/a && id -G >> /tmp/a\n");
    a_user_and_a_group: case("1.7 `user:group` → only that group", "FROM base\nUSER app:staff\nRUN id -u > /tmp/a && id -g >> /tmp/a\n");
    a_numeric_user: case("1.7 numeric unknown OK with gid 0", "FROM base\nUSER 90\nRUN id -u > /tmp/a && id -g >> /tmp/a\n");
    a_known_number: case("1.7 numeric known: its passwd entry", "FROM base\nUSER 1000\nRUN id -u > /tmp/a && id -g >> /tmp/a && echo $HOME >> /tmp/a\n");
    two_numbers: case("1.7 uid:gid", "FROM base\nUSER 90:91\nRUN id -u > /tmp/a && id -g >> /tmp/a\n");
    home: case("1.7 HOME from the rootfs' /etc/passwd", "FROM base\nRUN echo $HOME > /a\nUSER app\nRUN echo $HOME > /tmp/b\n");
    the_environment: case("1.7 Env = config.Env + ARGs", "FROM base\nARG A=1\nENV B=\"2 3\"\nRUN echo $A $B $BASE > /a\n");
    stdin_is_empty: case("1.7 stdin empty", "FROM base\nRUN cat > /a\n");
    several_lines: case("1.7 continuations joined, no newline", "FROM base\nRUN echo a \\\n    b \\\n  && echo c > /x; \\\n  echo d \\\n  >> /x\n");
    another_shell: case("1.9 SHELL affects RUN", "FROM base\nSHELL [\"/bin/busybox\", \"sh\", \"-c\", \"echo $0 > /a\"]\nRUN arg zero\n");
    umask: case("1.7 umask 0022", "FROM base\nRUN umask > /a && : > /b && mkdir /c\n");
    after_copies: case("1.7 RUN over copied files", "FROM base\nCOPY d /d\nRUN cat /d/a /d/b > /c && rm /d/a && chmod +x /d/b\nCOPY d/a /d/\n").files(&["d/a", "d/b"]);
    odd_names: case("1.7 names are bytes", "FROM base\nRUN touch '/a b' /ü \"$(printf '/\\377')\" '/-x' '/.wh' && mkdir '/a\\b'\n");
}
