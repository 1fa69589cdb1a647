//! `HEALTHCHECK`.

use std::time::Duration;

use super::instruction::{Reading, command};
use crate::dockerfile::ast::{Command, Healthcheck, HealthcheckOptions};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::flags::{Flags, Kind};
use crate::dockerfile::value::parse_duration;
use crate::dockerfile::word::Word;

/// Shorter times than this are a mistake.
const MINIMUM: i64 = 1_000_000;

/// Parses `HEALTHCHECK`.
pub(super) fn parse_healthcheck(reading: &Reading<'_>) -> Result<Healthcheck, Diagnostic> {
    let flags = reading.flags(&[
        ("interval", Kind::Text),
        ("timeout", Kind::Text),
        ("start-period", Kind::Text),
        ("start-interval", Kind::Text),
        ("retries", Kind::Text),
    ])?;
    let arguments = reading.arguments();
    if arguments.text.is_empty() {
        return Err(reading.at_least_one());
    }
    let end = arguments.text.find(char::is_whitespace).unwrap_or(arguments.text.len());
    let kind = arguments.slice(0..end);
    let rest = arguments.slice(end..arguments.text.len()).trim();
    match kind.text.to_ascii_uppercase().as_str() {
        "NONE" if rest.text.is_empty() && reading.parts.flags.is_empty() => Ok(Healthcheck::None),
        "NONE" => Err(reading.error("HEALTHCHECK NONE takes no arguments")),
        "CMD" => {
            let test = match command(&rest)? {
                Some(Command::Exec(words)) if words.is_empty() => None,
                command => command,
            };
            let test = test.ok_or_else(|| reading.error("Missing command after HEALTHCHECK CMD"))?;
            Ok(Healthcheck::Check { test, options: parse_options(&flags)? })
        }
        other => {
            let message = format!("Unknown type {other:?} in HEALTHCHECK (try CMD)");
            Err(Diagnostic::error(Code::InvalidArguments, message, kind.span))
        }
    }
}

fn parse_options(flags: &Flags<'_>) -> Result<HealthcheckOptions, Diagnostic> {
    Ok(HealthcheckOptions {
        interval: parse_interval(flags.text("interval").as_ref())?,
        timeout: parse_interval(flags.text("timeout").as_ref())?,
        start_period: parse_interval(flags.text("start-period").as_ref())?,
        start_interval: parse_interval(flags.text("start-interval").as_ref())?,
        retries: parse_retries(flags.text("retries").as_ref())?,
    })
}

fn parse_interval(flag: Option<&Word>) -> Result<Duration, Diagnostic> {
    let Some(flag) = flag.filter(|flag| !flag.text.is_empty()) else { return Ok(Duration::ZERO) };
    let error = |message: String| Diagnostic::error(Code::InvalidValue, message, flag.span);
    let nanoseconds = parse_duration(&flag.text).map_err(|source| error(source.to_string()))?;
    match u64::try_from(nanoseconds) {
        Ok(0) => Ok(Duration::ZERO),
        Ok(positive) if nanoseconds >= MINIMUM => Ok(Duration::from_nanos(positive)),
        _ => Err(error(format!("Interval {:?} cannot be less than 1ms", flag.text))),
    }
}

fn parse_retries(flag: Option<&Word>) -> Result<u32, Diagnostic> {
    let Some(flag) = flag.filter(|flag| !flag.text.is_empty()) else { return Ok(0) };
    let error = |message: String| Diagnostic::error(Code::InvalidValue, message, flag.span);
    let number: i32 = flag
        .text
        .parse()
        .map_err(|_| error(format!("--retries must be a whole number, not {:?}", flag.text)))?;
    u32::try_from(number).map_err(|_| error(format!("--retries cannot be negative ({number})")))
}
