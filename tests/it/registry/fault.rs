//! Faults on command.

use std::time::Duration;

use super::error;
use super::http::{Request, Response};

/// What shall go wrong, where, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    method: Option<&'static str>,
    part: String,
    skips: usize,
    strikes: usize,
    effect: Effect,
}

/// How it goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The connection is closed instead of an answer.
    Drop,
    /// The connection is closed after this many bytes of the request's body; they count as received.
    DropInBody(usize),
    /// This status, with an error document.
    Status(u16),
    /// This status, with this code and message.
    Refuse(u16, &'static str, &'static str),
    /// 429 with this `Retry-After`.
    TooMany(&'static str),
    /// The body ends after this many bytes, and with it the connection.
    Truncate(usize),
    /// One bit of the body is wrong.
    Corrupt,
    /// More bytes than there are.
    Lengthen,
    /// So many bytes at once, with a rest between.
    Slow(usize, Duration),
    /// The answer waits until so many requests were under way at once, for ten seconds at most.
    Meet(usize),
    /// 307 to the same path at this base URL.
    Redirect(String),
    /// All tokens are forgotten, and then the request is answered.
    ExpireTokens,
    /// The true answer, with this header.
    Header(&'static str, String),
    /// As if the header `Range` had not been sent.
    IgnoreRange,
}

impl Fault {
    /// `effect` once, for the first request with this method whose target contains `part`.
    pub(crate) fn on(method: &'static str, part: &str, effect: Effect) -> Self {
        Self { method: Some(method), part: part.to_owned(), skips: 0, strikes: 1, effect }
    }

    /// `effect` once, whatever the method.
    pub(crate) fn on_any(part: &str, effect: Effect) -> Self {
        Self { method: None, ..Self::on("", part, effect) }
    }

    /// That often.
    pub(crate) fn times(self, strikes: usize) -> Self {
        Self { strikes, ..self }
    }

    /// Always.
    pub(crate) fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Only after so many matching requests went well.
    pub(crate) fn after(self, skips: usize) -> Self {
        Self { skips, ..self }
    }

    /// The effect on this request, which then counts.
    pub(super) fn strikes(&mut self, request: &Request) -> Option<Effect> {
        let is_match = self.method.is_none_or(|method| method == request.method);
        if !is_match || !request.target.contains(&self.part) || self.strikes == 0 {
            return None;
        }
        if self.skips > 0 {
            self.skips -= 1;
            return None;
        }
        self.strikes = self.strikes.saturating_sub(1);
        Some(match &self.effect {
            Effect::Redirect(base) => Effect::Redirect(format!("{base}{}", request.target)),
            effect => effect.clone(),
        })
    }
}

impl Effect {
    /// The answer in place of the true one, for effects that have one.
    pub(super) fn response(&self) -> Option<Response> {
        Some(match self {
            Self::Status(status) => error(*status, "UNKNOWN", "a fault was asked for"),
            Self::Refuse(status, code, message) => error(*status, code, message),
            Self::TooMany(wait) => error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", wait),
            Self::Redirect(url) => Response::new(307).header("Location", url),
            _ => return None,
        })
    }

    /// Spoils a true answer.
    pub(super) fn spoil(&self, response: &mut Response) {
        match self {
            Self::Truncate(length) if *length < response.body.len() => response.cut = Some(*length),
            Self::Corrupt => {
                if let Some(byte) = response.body.first_mut() {
                    *byte ^= 1;
                }
            }
            Self::Lengthen => response.body.push(b'!'),
            Self::Header(name, value) => response.headers.push(((*name).to_owned(), value.clone())),
            Self::Slow(size, rest) => response.slow = Some((*size, *rest)),
            _ => {}
        }
    }
}
