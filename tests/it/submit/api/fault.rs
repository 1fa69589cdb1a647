//! Faults on command.

use super::http::{Answer, Request};

/// What shall go wrong, where, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    method: &'static str,
    part: String,
    strikes: usize,
    effect: Effect,
}

/// How it goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The connection is closed, and nothing is done.
    Drop,
    /// What was asked for is done, and the connection is closed instead of an answer.
    DropAnswer,
    /// This answer, and nothing is done.
    Refuse(u16, &'static str),
    /// A stream is broken off after this many events or lines, in the middle of the next.
    Cut(usize),
    /// A watch says 410 after this many events.
    Gone(usize),
}

impl Fault {
    /// `effect` once, for the first request with this method whose target contains `part`.
    pub(crate) fn on(method: &'static str, part: &str, effect: Effect) -> Self {
        Self { method, part: part.to_owned(), strikes: 1, effect }
    }

    /// That often.
    pub(crate) fn times(self, strikes: usize) -> Self {
        Self { strikes, ..self }
    }

    pub(super) fn strikes(&mut self, request: &Request) -> Option<Effect> {
        if self.strikes == 0 || self.method != request.method || !request.target.contains(&self.part) {
            return None;
        }
        self.strikes -= 1;
        Some(self.effect.clone())
    }
}

impl Effect {
    pub(super) fn answer(&self) -> Option<Answer> {
        let Self::Refuse(code, reason) = self else { return None };
        let mut answer = Answer::failure(*code, reason, "a fault was asked for");
        if *code == 429 {
            answer.headers.push(("Retry-After".to_owned(), "1".to_owned()));
        }
        Some(answer)
    }
}
