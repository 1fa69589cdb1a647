//! Commands that are not run during the build.

use std::time::Duration;

use super::Word;

/// What `CMD`, `ENTRYPOINT` and `HEALTHCHECK CMD` start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// JSON form: the arguments. May be empty.
    Exec(Vec<Word>),
    /// Shell form: one argument for the `SHELL`.
    Shell(Word),
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: also the base image's check is off.
    None,
    /// `CMD`.
    Check {
        /// The command that checks.
        test: Command,
        /// When and how often.
        options: HealthcheckOptions,
    },
}

/// The flags of `HEALTHCHECK CMD`; what is zero is left to the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthcheckOptions {
    /// Time between two checks.
    pub interval: Duration,
    /// Time after which a check has failed.
    pub timeout: Duration,
    /// Time in which failures do not count.
    pub start_period: Duration,
    /// Time between two checks in the start period.
    pub start_interval: Duration,
    /// Failures in a row that make a container unhealthy.
    pub retries: u32,
}
