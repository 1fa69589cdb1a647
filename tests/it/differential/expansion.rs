//! Words with variables, quotes and escapes.

use serde_json::json;

use super::{case, cases};

cases! {
    plain_forms: case("1.4 `$v`, `${v}`", "FROM base\nENV A=1\nENV B=$A C=${A}x D=$Ax E=a$A\n");
    defaults_and_alternatives: case("1.4 `${v:-w}`, `${v:+w}`", "FROM base\nENV A=1 E=\nENV B=${A:-x} C=${N:-x} D=${E:-x} F=${A:+y} G=<${N:+y}> H=<${E:+y}>\n");
    set_but_empty: case("1.4 `${v-w}`, `${v+w}`", "FROM base\nENV A=1 E=\nENV B=${A-x} C=${N-x} D=<${E-x}> F=${A+y} G=<${N+y}> H=${E+y}\n")
        .written("Buildah does not know them")
        .config("/config/Env/4", json!("B=1"))
        .config("/config/Env/5", json!("C=x"))
        .config("/config/Env/6", json!("D=<>"))
        .config("/config/Env/7", json!("F=y"))
        .config("/config/Env/8", json!("G=<>"))
        .config("/config/Env/9", json!("H=y"));
    nested: case("1.4 nested expansions", "FROM base\nENV A=1 B=2\nENV C=${N:-${A}${B}} D=${N:-a${M:-b}}\n");
    prefixes_and_suffixes: case("1.4 `${v#p}` `${v##p}` `${v%p}` `${v%%p}`", "FROM base\nENV A=a.b.c\nENV B=${A#*.} C=${A##*.} D=${A%.*} E=${A%%.*} F=${A#?}\n")
        .written("Buildah does not know them")
        .config("/config/Env/3", json!("B=b.c"))
        .config("/config/Env/4", json!("C=c"))
        .config("/config/Env/5", json!("D=a.b"))
        .config("/config/Env/6", json!("E=a"))
        .config("/config/Env/7", json!("F=.b.c"));
    replacements: case("1.4 `${v/p/r}` `${v//p/r}`", "FROM base\nENV A=a.b.c\nENV B=${A/./-} C=${A//./-} D=${A/b/} E=${A//[x]/y}\n")
        .written("Buildah does not know them")
        .config("/config/Env/3", json!("B=a-b.c"))
        .config("/config/Env/4", json!("C=a-b-c"))
        .config("/config/Env/5", json!("D=a..c"))
        .config("/config/Env/6", json!("E=a.b.c"));
    quotes: case("1.4 single quotes: literal; double quotes: expanded", "FROM base\nENV A=1\nENV B='$A' C=\"$A b\" D=a'$A'\"$A\"$A E=\"it's\" F='\"'\n");
    escapes: case("1.4 escape + c → c; in double quotes only before `\"`, `$`, escape", "FROM base\nENV A=1\nENV B=\\$A C=a\\ b D=\"\\$A \\\" \\\\ \\n\" E=\\a F='\\a'\n");
    a_lone_dollar: case("1.4 `$` followed by non-name char stays literally", "FROM base\nENV A=a$ B=$-x C=a$.b D=\"$\"\n")
        .written("Buildah keeps `$-`, which is a parameter that is empty")
        .config("/config/Env/2", json!("A=a$"))
        .config("/config/Env/4", json!("C=a$.b"))
        .config("/config/Env/5", json!("D=$"));
    one_instruction_sees_the_values_before: case("1.4 `ENV a=1 b=$a` → old a", "FROM base\nENV A=old\nENV A=new B=$A\nENV C=$A\n");
    unset_is_empty: case("1.4 unset variables are empty", "FROM base\nENV A=<$N> B=<${N}>\n");
    where_words_are_expanded: case(
        "1.4 applied to LABEL, WORKDIR, USER, VOLUME, STOPSIGNAL",
        "FROM base\nENV A=app N=9\nLABEL l=$A k=\"${A}s\"\nWORKDIR /w/$A\nVOLUME /v/$A /u\nVOLUME [\"/x/$A\"]\nSTOPSIGNAL $N\nUSER $A\n",
    );
    ports_are_split_after_expansion: case("1.4 EXPOSE: word-splitting", "FROM base\nENV PORTS=\"80 53/udp\"\nEXPOSE $PORTS 443\n");
    copies_are_expanded: case("1.4 applied to COPY sources, destination, --chown", "FROM base\nENV A=a D=/d U=5\nCOPY --chown=$U:6 $A ${D}/x\nADD $A* $D/\n")
        .files(&["a", "ab"]);
    commands_are_not_expanded: case(
        "1.4 not expanded: RUN, CMD, ENTRYPOINT, HEALTHCHECK text",
        "FROM base\nARG A=1\nRUN A=2; echo $A '$A' > /a\nCMD echo $A\nENTRYPOINT [\"$A\"]\nHEALTHCHECK CMD echo $A\n",
    );
    a_maintainer_is_not_expanded: case("1.4 not expanded: MAINTAINER", "FROM scratch\nARG A=1\nMAINTAINER $A\n");
    another_escape_character: case("1.2 escape with backtick", "# escape=`\nFROM base\nENV A=1 `\n B=\\x\nENV C=`$A D=$A\nCOPY a `\n /d/\n").files(&["a"])
        .written("Buildah expands with a backslash all the same")
        .makes(&["d/ 0755", "d/a 0644 a"])
        .config("/config/Env/3", json!("B=\\x"))
        .config("/config/Env/4", json!("C=$A"))
        .config("/config/Env/5", json!("D=1"));
    labels_with_quotes: case("1.4 LABEL names and values", "FROM scratch\nLABEL \"a b\"=\"c d\" 'e'=f g.h-i/j=\"k\\\n l\"\nLABEL m n o\n");
    env_of_the_base: case("1.4 the environment is the image's", "FROM base\nENV B=$BASE\nLABEL l=$PATH\n");
    dollars_in_names_of_env: case("1.4 ENV: names are expanded too", "FROM base\nENV A=B\nENV $A=1 ${A}C=2\n");
    continued_lines: case("1.1 continuations, comments and blank lines inside", "FROM base\nENV A=1 \\\n# a comment\n  B=2 \\\n\n  C=3\nRUN echo one \\\n  # another\n  two > /a\n");
}
