//! Stages: their bases, names, numbers and what they inherit.

use serde_json::json;

use super::{case, cases};

cases! {
    scratch_is_empty: case("1.5 scratch: empty rootfs", "FROM scratch\nCOPY a /\n").files(&["a"]);
    scratch_has_a_path: case("1.5 scratch: config {Env:[PATH=…], WorkingDir:\"/\"}", "FROM scratch\nCOPY a /\n")
        .files(&["a"])
        .written("Buildah writes no working directory")
        .makes(&["a 0644 a"])
        .config("Env", json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]))
        .config("/config/WorkingDir", json!("/"));
    the_base_is_kept: case("1.5 FROM image: files and config", "FROM base\nLABEL a=b\n");
    a_stage_inherits_files_and_config: case(
        "1.5 FROM earlier-stage inherits fs and config",
        "FROM base AS one\nENV A=1\nUSER app\nWORKDIR /w\nLABEL l=1\nEXPOSE 80\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\n\
         COPY a /a\nFROM one\nENV B=$A\nCOPY b /b\n",
    )
    .files(&["a", "b"]);
    as_in_any_case: case("1.5 `AS` case-insensitive", "from scratch as one\ncopy a /a\nFrom scratch\nCopy --from=one /a /b\n")
        .files(&["a"]);
    stage_names_in_any_case: case(
        "1.5 stage lookup case-insensitive",
        "FROM scratch AS One\nCOPY a /a\nFROM scratch\nCOPY --from=oNE /a /b\n",
    )
    .files(&["a"])
        .written("Buildah wants the very case")
    .makes(&["b 0644 a"]);
    unused_stages_are_not_executed: case(
        "1.5 unused stages are never executed",
        "FROM base AS unused\nRUN exit 3\nFROM scratch\nCOPY a /a\n",
    )
    .files(&["a"]);
    a_chain_of_stages: case(
        "1.5 only the last stage is built, plus transitive dependencies",
        "FROM scratch AS one\nCOPY a /1\nFROM scratch AS two\nCOPY --from=one /1 /2\nFROM two AS three\nCOPY b /3\nFROM three\n",
    )
    .files(&["a", "b"]);
    target_ends_the_build: case(
        "1.5 `--target` by name",
        "FROM scratch AS one\nCOPY a /a\nFROM one AS two\nCOPY b /b\nFROM two AS three\nCOPY c /c\n",
    )
    .files(&["a", "b", "c"])
    .args(&["--target", "two"]);
    target_in_any_case: case("1.5 `--target`, case-insensitive", "FROM scratch AS One\nCOPY a /a\nFROM scratch\nCOPY b /b\n")
        .files(&["a", "b"])
        .args(&["--target", "oNe"])
        .written("Buildah wants the very case")
        .makes(&["a 0644 a"]);
    the_last_of_two_namesakes: case(
        "1.5 duplicate stage names: last definition wins for later lookups",
        "FROM scratch AS one\nCOPY a /a\nFROM scratch AS one\nCOPY b /a\nFROM scratch\nCOPY --from=one /a /c\n",
    )
    .files(&["a", "b"]);
    a_global_argument_names_the_base: case(
        "1.6 before first FROM = global: usable in FROM lines",
        "ARG NAME=other\nARG TAG=latest\nFROM ${NAME}:$TAG\nLABEL a=b\n",
    )
    .args(&["--build-arg", "NAME=base"]);
    a_platform_for_the_base: case(
        "1.5 `--platform` accepts $BUILDPLATFORM, $TARGETPLATFORM",
        "FROM --platform=$BUILDPLATFORM base AS one\nRUN echo x > /x\nFROM --platform=$TARGETPLATFORM base\nCOPY --from=one /x /x\n",
    );
    stages_branch: case(
        "1.5 two stages from one do not see each other's files",
        "FROM scratch AS one\nCOPY a /a\nFROM one AS two\nCOPY b /b\nFROM one AS three\nCOPY c /c\nCOPY --from=two /b /from-two\n",
    )
    .files(&["a", "b", "c"]);
    metadata_alone: case("1.5 scratch without layers", "FROM base AS one\nRUN echo x > /x\nFROM one AS two\nENV A=b\nFROM two\nUSER app\n");
}
