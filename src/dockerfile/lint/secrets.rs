//! Secrets in `ARG` and `ENV`, which everybody who has the image can read.

use crate::dockerfile::ast::{Dockerfile, Instruction};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::word::Word;

/// Parts of a name, between underscores, that speak of a secret.
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];

/// Parts that speak of something else.
const PUBLIC: [&str; 3] = ["public", "file", "version"];

/// `SecretsUsedInArgOrEnv`.
pub(super) fn check(dockerfile: &Dockerfile, found: &mut Vec<Diagnostic>) {
    for argument in dockerfile.globals.iter().flat_map(|located| &located.value) {
        check_name("ARG", &argument.name, found);
    }
    for located in dockerfile.stages.iter().flat_map(|stage| &stage.instructions) {
        match &located.value {
            Instruction::Arg(arguments) => {
                for argument in arguments {
                    check_name("ARG", &argument.name, found);
                }
            }
            Instruction::Env(assignments) => {
                for assignment in assignments {
                    check_name("ENV", &assignment.name, found);
                }
            }
            _ => {}
        }
    }
}

fn check_name(keyword: &str, name: &Word, found: &mut Vec<Diagnostic>) {
    let has = |words: &[&str]| {
        name.text.split('_').any(|part| words.iter().any(|word| word.eq_ignore_ascii_case(part)))
    };
    if has(&SECRET) && !has(&PUBLIC) {
        let message =
            format!("Do not use ARG or ENV instructions for sensitive data ({keyword} {:?})", name.text);
        found.push(
            Diagnostic::warning(Code::SecretsUsedInArgOrEnv, message, name.span)
                .advise("give it to the RUN that needs it: RUN --mount=type=secret,id=NAME"),
        );
    }
}
