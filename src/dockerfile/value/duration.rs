//! Durations as Go writes them: `1h30m`, `2.5s`.

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// No numbers with units.
    #[error("time: invalid duration {0:?}: write it like 30s or 1m30s")]
    Invalid(String),
    /// A number alone.
    #[error("time: missing unit in duration {0:?}: write it like 30s or 1m30s")]
    MissingUnit(String),
    /// Another unit than ns, us, ms, s, m and h.
    #[error("time: unknown unit {unit:?} in duration {text:?}: the units are ns, us, ms, s, m and h")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// All of it.
        text: String,
    },
}

/// Parses a duration in the syntax of Go's `time.ParseDuration`, to nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, ParseDurationError> {
    let invalid = || ParseDurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let number = leading(rest, |c| c.is_ascii_digit() || c == '.');
        rest = rest.get(number.len()..).unwrap_or_default();
        let name = leading(rest, |c| !c.is_ascii_digit() && c != '.');
        rest = rest.get(name.len()..).unwrap_or_default();
        if !number.contains(|c: char| c.is_ascii_digit()) {
            return Err(invalid());
        }
        if name.is_empty() {
            return Err(ParseDurationError::MissingUnit(text.to_owned()));
        }
        let unit = unit(name).ok_or_else(|| ParseDurationError::UnknownUnit {
            unit: name.to_owned(),
            text: text.to_owned(),
        })?;
        let value = times(number, unit).ok_or_else(invalid)?;
        total = total.checked_add(value).ok_or_else(invalid)?;
    }
    Ok(if negative { -total } else { total })
}

fn leading(text: &str, matches: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !matches(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// Nanoseconds of a unit.
fn unit(name: &str) -> Option<i64> {
    Some(match name {
        "ns" => 1,
        // With either of Unicode's two signs for micro.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A decimal number of units, rounded down to whole nanoseconds; `None` if it is none or too large.
fn times(number: &str, unit: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit)?;
    let mut scale = unit;
    for digit in fraction.chars() {
        scale /= 10;
        total = total.checked_add(scale * i64::from(digit.to_digit(10)?))?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        // 1.9: durations Go style
        for (text, nanoseconds) in [
            ("0", 0),
            ("0s", 0),
            ("1ns", 1),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("100ms", 100_000_000),
            ("1.5s", 1_500_000_000),
            (".5m", 30_000_000_000),
            ("1h2m3s", 3_723_000_000_000),
            ("+1s", 1_000_000_000),
            ("-1s", -1_000_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(nanoseconds), "{text}");
        }
    }

    #[test]
    fn refuses_others() {
        for (text, message) in [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1s5", "time: missing unit in duration \"1s5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            (".s", "time: invalid duration \".s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("99999999999h", "time: invalid duration \"99999999999h\""),
            ("1 s", "time: unknown unit \" s\" in duration \"1 s\""),
        ] {
            let error = parse_duration(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
