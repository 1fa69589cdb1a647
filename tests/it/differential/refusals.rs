//! Dockerfiles that are wrong: the texts that users know, with a place.

use super::{case, cases};

cases! {
    an_unknown_target: case("1.5 unknown target", "FROM scratch AS build\nCOPY a /a\n").files(&["a"]).args(&["--target", "biuld"])
        .refused(&["target stage \"biuld\" could not be found (did you mean build?)"]);
    a_later_stage: case("1.5 COPY --from forward ref", "FROM scratch AS one\nCOPY --from=two /a /a\nFROM scratch AS two\nCOPY a /a\n").files(&["a"]).args(&["--target", "one"])
        .refused(&["cannot copy from stage \"two\", it needs to be defined before current stage \"one\"", "Dockerfile:2:13"]);
    itself: case("1.5 a stage that copies from itself", "FROM scratch AS one\nCOPY --from=one /a /a\n")
        .refused(&["circular dependency detected on stage: one", "Dockerfile:2:13"]);
    a_number_too_high: case("1.5 COPY --from=index of no earlier stage", "FROM scratch\nCOPY --from=3 /a /a\n").refused(&["invalid stage index 3"]);
    a_variable_in_from: case("1.4 not expanded: COPY --from", "ARG A=one\nFROM scratch AS one\nCOPY a /a\nFROM scratch\nCOPY --from=$A /a /a\n").files(&["a"])
        .refused(&["variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround"]);
    a_blank_base: case("1.5 blank after expansion", "FROM $NONE\nCOPY a /a\n").files(&["a"]).refused(&["base name ($NONE) should not be blank", "Dockerfile:1:6"]);
    a_stage_name_with_symbols: case("1.5 stage names", "FROM scratch AS 1one\nCOPY a /a\n").files(&["a"])
        .refused(&["invalid name for build stage: \"1one\", name can't start with a number or contain symbols"])
        .though_buildah("Buildah takes any name");
    an_unknown_instruction: case("1.1 unknown instruction", "FROM scratch\nCPOY a /a\n").files(&["a"]).refused(&["unknown instruction: CPOY (did you mean COPY?)", "Dockerfile:2:1"]);
    an_unknown_flag: case("1.1 unknown flag", "FROM scratch\nCOPY --form=x a /a\n").files(&["a"]).refused(&["unknown flag: --form (did you mean from?)"]);
    no_stage: case("1.1 first non-ARG instruction not FROM", "COPY a /a\nFROM scratch\n").files(&["a"]).refused(&["no build stage in current context"])
        .though_buildah("Buildah takes what comes before the first FROM for part of it");
    nothing: case("1.1 empty file", "").refused(&["the Dockerfile cannot be empty"]);
    one_word: case("1.1 COPY requires at least two arguments", "FROM scratch\nCOPY a\n").files(&["a"])
        .refused(&["COPY requires at least two arguments, but only one was provided. Destination could not be determined"]);
    a_required_variable: case("1.4 `:?` error", "FROM scratch\nENV A=\"${B:?tell me B}\"\n").refused(&["B: tell me B"]);
    an_unset_variable: case("1.4 `?` error without a text", "FROM scratch\nENV A=${B?}\n").refused(&["B: is not allowed to be unset"]);
    a_bad_port: case("1.9 EXPOSE: bad port", "FROM scratch\nEXPOSE http\n").refused(&["invalid containerPort: http"])
        .though_buildah("Buildah does not check ports");
    a_bad_signal: case("1.9 STOPSIGNAL: bad", "FROM scratch\nSTOPSIGNAL SIGNONE\n").refused(&["nvalid signal"]);
    shell_without_json: case("1.9 SHELL JSON only", "FROM scratch\nSHELL /bin/sh -c\n").refused(&["SHELL requires the arguments to be in JSON form"]);
    an_empty_volume: case("1.9 VOLUME: blank element", "FROM scratch\nVOLUME [\"\"]\n").refused(&["VOLUME specified can not be an empty string"]);
    a_url_for_copy: case("1.8 COPY with URL source", "FROM scratch\nCOPY https://a.invalid/x /x\n").refused(&["source can't be a URL for COPY"]);
    a_failing_command: case("1.7 failure", "FROM base\nRUN echo said; exit 7\n").refused(&["said", "did not complete successfully: exit code: 7", "Dockerfile:2:1"]);
}
