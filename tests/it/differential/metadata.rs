//! Instructions that only change the config.

use serde_json::json;

use super::{case, cases};

cases! {
    env_forms: case("1.1 ENV: both forms", "FROM scratch\nENV A=1 B=\"two words\" C='x' D=a\\ b\nENV E one  two = three\nENV F=\n");
    env_is_replaced_in_place: case("1.9 ENV: duplicates replaced in place; order preserved", "FROM base\nENV A=1 B=2\nENV A=3 C=4\nENV BASE=no PATH=/bin\n")
        .written("Buildah appends what is set again")
        .config("Env", json!(["PATH=/bin", "BASE=no", "A=3", "B=2", "C=4"]));
    labels: case("1.9 LABEL: last wins, quoted values with newlines", "FROM scratch\nLABEL a=1 b=2\nLABEL a=3 \"c\"=\"x \\\n y\" d.e/f=\nLABEL g h i\n");
    labels_of_the_command_line: case("1.9 --label applied last to the final stage", "FROM scratch\nLABEL a=1 b=2\n").args(&["--label", "a=9", "--label", "c=3"]);
    labels_are_inherited: case("1.9 base labels inherited", "FROM scratch AS one\nLABEL a=1 b=2\nFROM one\nLABEL b=3\n");
    ports: case("1.9 EXPOSE: default tcp", "FROM scratch\nEXPOSE 80 53/udp 9/sctp\nEXPOSE 80/tcp\n");
    port_ranges: case("1.9 EXPOSE: ranges expanded", "FROM scratch\nEXPOSE 7000-7002 8000-8001/udp\n")
        .written("Buildah 1.28 keeps ranges as they are")
        .config("ExposedPorts", json!({"7000/tcp": {}, "7001/tcp": {}, "7002/tcp": {}, "8000/udp": {}, "8001/udp": {}}));
    ports_with_host_parts: case("1.9 EXPOSE: ip/host part tolerated", "FROM scratch\nEXPOSE 8080:80 127.0.0.1:5000:500/udp\n")
        .written("Buildah keeps the text as it is")
        .config("ExposedPorts", json!({"80/tcp": {}, "500/udp": {}}));
    volumes: case("1.9 VOLUME: JSON or words", "FROM scratch\nVOLUME /a /b\nVOLUME [\"/c d\", \"/e\"]\n")
        .without("c d", "Buildah makes the directories of volumes")
        .without("e", "likewise");
    volumes_keep_later_writes: case("1.9 VOLUME: later writes into the path ARE kept", "FROM base\nRUN mkdir /v && echo 1 > /v/a\nVOLUME /v\nRUN echo 2 > /v/b && rm /v/a\nCOPY a /v/c\n")
        .files(&["a"])
        .written("Buildah throws away what RUN changes in a volume, as the classic builder")
        .makes(&["v/ 0755", "v/b 0644 2\\n", "v/c 0644 a"]);
    users: case("1.9 USER: stored verbatim", "FROM scratch\nUSER nobody:nogroup\n");
    stop_signals: case("1.9 STOPSIGNAL: a name", "FROM scratch\nSTOPSIGNAL SIGUSR1\n");
    stop_signal_numbers: case("1.9 STOPSIGNAL: a number", "FROM scratch\nSTOPSIGNAL 9\n");
    shell_form_of_cmd: case("1.9 CMD: shell form", "FROM scratch\nCMD echo $HOME  \"a b\"\n");
    exec_form_of_cmd: case("1.9 CMD: JSON verbatim", "FROM scratch\nCMD [\"a b\", \"$HOME\", \"\\u00e9\"]\n");
    broken_json_is_a_shell_form: case("1.1 invalid JSON silently falls back to shell form", "FROM scratch\nCMD ['a', 'b']\n");
    last_cmd_wins: case("1.9 CMD: several → last", "FROM scratch\nCMD [\"a\"]\nCMD [\"b\"]\n");
    empty_cmd: case("1.9 `CMD []` → empty", "FROM base\nCMD []\n");
    entrypoint_clears_an_inherited_cmd: case("1.9 ENTRYPOINT: clears inherited CMD", "FROM base\nENTRYPOINT [\"e\"]\n");
    entrypoint_keeps_an_own_cmd: case("1.9 … unless CMD was set in THIS stage", "FROM base\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\n");
    cmd_after_entrypoint: case("1.9 CMD after ENTRYPOINT", "FROM base\nENTRYPOINT e x\nCMD [\"c\"]\n");
    entrypoint_clears_the_cmd_of_a_parent_stage: case("1.9 ENTRYPOINT: CMD of a parent stage is inherited", "FROM scratch AS one\nCMD [\"c\"]\nFROM one\nENTRYPOINT [\"e\"]\n");
    empty_entrypoint: case("1.9 `ENTRYPOINT []` → cleared", "FROM scratch AS one\nENTRYPOINT [\"e\"]\nFROM one\nENTRYPOINT []\nCMD [\"c\"]\n");
    shell_affects_the_others: case("1.9 SHELL affects CMD/ENTRYPOINT/HEALTHCHECK shell forms", "FROM base\nSHELL [\"/bin/busybox\", \"sh\", \"-ec\"]\nCMD a b\nENTRYPOINT c d\n")
        .written("Buildah takes /bin/sh for CMD and ENTRYPOINT")
        .config("Cmd", json!(["/bin/busybox", "sh", "-ec", "a b"]))
        .config("Entrypoint", json!(["/bin/busybox", "sh", "-ec", "c d"]));
    shell_is_inherited: case("1.9 SHELL is inherited", "FROM base AS one\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\nFROM one\nRUN echo arg0 > /a\nCMD a b\n")
        .written("Buildah takes /bin/sh for CMD")
        .makes(&["a 0644 arg0\\n"])
        .config("Shell", json!(["/bin/busybox", "sh", "-c"]))
        .config("Cmd", json!(["/bin/busybox", "sh", "-c", "a b"]));
    health: case("1.9 HEALTHCHECK: shell form and options", "FROM scratch\nHEALTHCHECK --interval=1m30s --timeout=5s --start-period=2s --retries=4 CMD exit 0\n");
    health_json: case("1.9 HEALTHCHECK: JSON form", "FROM scratch\nHEALTHCHECK CMD [\"a\", \"b c\"]\n");
    health_none: case("1.9 HEALTHCHECK NONE", "FROM scratch AS one\nHEALTHCHECK CMD a\nFROM one\nHEALTHCHECK NONE\n");
    health_is_inherited: case("1.9 HEALTHCHECK: inherits", "FROM scratch AS one\nHEALTHCHECK --interval=1s CMD a\nFROM one\nLABEL a=b\n");
    health_start_interval: case("1.9 HEALTHCHECK: --start-interval", "FROM scratch\nHEALTHCHECK --start-interval=100ms CMD exit 0\n")
        .written("Buildah 1.28 does not know the flag")
        .config("Healthcheck", json!({"Test": ["CMD-SHELL", "exit 0"], "StartInterval": 100_000_000}));
    maintainer: case("1.9 MAINTAINER → config author", "FROM scratch\nMAINTAINER A Person <a@b.invalid>\n");
    args_escaped: case("1.9 CMD: ArgsEscaped true", "FROM scratch\nCMD x\n")
        .written("Buildah does not set it")
        .config("ArgsEscaped", json!(true));
}
