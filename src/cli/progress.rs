//! `--progress`: how a build is shown.

use std::io::IsTerminal as _;
use std::sync::Arc;

use clap::ValueEnum;

use crate::event::{JsonReporter, PlainReporter, QuietReporter, Reporter, TerminalReporter};

/// How a build is shown. Everything goes to standard error; standard output is for results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Progress {
    /// Bars on a terminal, plain lines elsewhere
    #[default]
    Auto,
    /// Bars
    Tty,
    /// Plain lines
    Plain,
    /// One JSON object per line and event
    Json,
    /// Nothing but errors
    Quiet,
}

impl Progress {
    pub(super) fn reporter(self) -> Arc<dyn Reporter> {
        match self {
            Self::Auto if std::io::stderr().is_terminal() => Arc::new(TerminalReporter::new()),
            Self::Tty => Arc::new(TerminalReporter::new()),
            Self::Auto | Self::Plain => Arc::new(PlainReporter::new(anstream::stderr())),
            Self::Json => Arc::new(JsonReporter::new(std::io::stderr())),
            Self::Quiet => Arc::new(QuietReporter),
        }
    }
}
