//! `ARG` and `ENV`: who wins, and where.

use serde_json::json;

use super::{case, cases};

cases! {
    a_default: case("1.6 own default", "FROM base\nARG A=1\nRUN echo $A > /a\n");
    build_arg_wins: case("1.6 --build-arg > own default", "FROM base\nARG A=1\nRUN echo $A > /a\n").args(&["--build-arg", "A=2"]);
    a_bare_arg_takes_the_global: case("1.6 bare ARG: global value", "ARG A=1\nFROM base\nARG A\nRUN echo $A > /a\n");
    own_default_beats_the_global: case("1.6 own default > global value", "ARG A=1\nFROM base\nARG A=2\nRUN echo $A > /a\n");
    a_global_needs_a_declaration: case("1.6 global: only in FROM lines", "ARG A=1\nFROM base\nRUN echo \"<$A>\" > /a\nENV B=<$A>\n");
    unset_is_not_empty: case(
        "1.6 `ARG X` without a value: not in the environment",
        "FROM base\nARG A\nARG B=\nRUN echo \"${A-unset} ${B-unset}\" > /a\nENV C=${A:-no}\n",
    );
    unset_in_words: case("1.6 `ARG X` unset: ${X-def} → def; `ARG X=` set, empty", "FROM base\nARG A\nARG B=\nENV C=${A-unset} D=<${B-unset}>\n")
        .written("Buildah does not know `${v-w}`")
        .config("/config/Env/2", json!("C=unset"))
        .config("/config/Env/3", json!("D=<>"));
    an_arg_ends_with_its_stage: case(
        "1.6 scope: from its line to the stage's end",
        "FROM base AS one\nARG A=1\nRUN echo $A > /a\nFROM base\nRUN echo \"<$A>\" > /b\nCOPY --from=one /a /a\n",
    );
    an_arg_is_inherited: case("1.6 scope: into stages FROM that stage", "FROM base AS one\nARG A=1\nFROM one\nRUN echo \"<$A>\" > /a\nLABEL a=<$A>\n")
        .written("Buildah does not inherit arguments")
        .makes(&["a 0644 <1>\\n"])
        .config("Labels", json!({"a": "<1>"}));
    not_before_its_line: case("1.6 scope: from its line", "FROM base\nRUN echo \"<$A>\" > /a\nARG A=1\nRUN echo \"<$A>\" > /b\n");
    env_wins_over_an_earlier_arg: case("1.6 ENV of same name overrides", "FROM base\nARG A=1\nENV A=2\nRUN echo $A > /a\nLABEL a=$A\n")
        .args(&["--build-arg", "A=3"]);
    a_later_arg_wins_over_env: case("1.14 an ARG after an ENV of the same name wins", "FROM base\nENV A=2\nARG A=1\nRUN echo $A > /a\nLABEL a=$A\n")
        .args(&["--build-arg", "A=3"])
        .written("with Buildah, ENV wins")
        .makes(&["a 0644 3\\n"])
        .config("Labels", json!({"a": "3"}))
        .config("/config/Env/2", json!("A=2"));
    args_are_not_in_the_config: case("1.6 the value is not saved in config", "FROM base\nARG A=1\nENV B=$A\n");
    defaults_use_earlier_args: case(
        "1.6 later defaults may use earlier ARGs",
        "FROM base\nARG A=1\nARG B=$A-2\nARG C=${B}-3\nRUN echo $C > /a\n",
    );
    several_on_a_line: case("1.6 several on one line, processed one after the other", "FROM base\nARG A=1 B=$A-2 C\nRUN echo $A $B \"<$C>\" > /a\n")
        .args(&["--build-arg", "C=3"])
        .written("Buildah looks at the values before the line")
        .makes(&["a 0644 1 1-2 <3>\\n"]);
    an_overridden_default_is_not_evaluated: case("1.6 default is not evaluated when overridden", "FROM base\nARG A=${B:?missing}\nRUN echo $A > /a\n")
        .args(&["--build-arg", "A=3"])
        .written("Buildah does not know `${v:?w}`")
        .makes(&["a 0644 3\\n"]);
    globals_use_globals: case("1.6 global defaults may use earlier globals", "ARG A=ba\nARG B=${A}se\nFROM $B\nARG B\nRUN echo $B > /a\n");
    proxies_need_no_declaration: case("1.6 predefined: no declaration needed in RUN", "FROM base\nRUN echo $HTTP_PROXY $no_proxy > /a\n")
        .args(&["--build-arg", "HTTP_PROXY=http://proxy.invalid", "--build-arg", "no_proxy=localhost"]);
    proxies_come_in_both_cases: case("1.6 predefined: BuildKit sets both cases in RUN env", "FROM base\nRUN echo $http_proxy $HTTP_PROXY > /a\n")
        .args(&["--build-arg", "HTTP_PROXY=http://proxy.invalid"])
        .written("Buildah sets the given case only")
        .makes(&["a 0644 http://proxy.invalid http://proxy.invalid\\n"]);
    platform_arguments: case(
        "1.6 global platform args, re-declared",
        "FROM base\nARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nARG BUILDPLATFORM\nARG BUILDARCH\n\
         RUN echo $TARGETPLATFORM $TARGETOS $TARGETARCH $BUILDPLATFORM $BUILDARCH > /a\n",
    );
    platform_arguments_need_a_declaration: case("1.6 global platform args must be re-declared", "FROM base\nRUN echo \"<$TARGETARCH>\" > /a\n");
    own_default_of_a_platform_argument: case("1.14 a stage's own `ARG TARGETARCH=default` beats the platform's value", "FROM base\nARG TARGETARCH=mine\nRUN echo $TARGETARCH > /a\n");
    the_targets_name: case("1.6 TARGETSTAGE", "FROM base AS one\nARG TARGETSTAGE\nRUN echo $TARGETSTAGE > /a\n")
        .args(&["--target", "one"])
        .written("Buildah does not know it")
        .makes(&["a 0644 one\\n"]);
    unused_build_args: case("1.6 unused build-args: not an error", "FROM scratch\nCOPY a /a\n").files(&["a"]).args(&["--build-arg", "NOBODY=asks"]);
}
