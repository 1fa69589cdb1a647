//! Times, sizes and shares of processors, as people write them in command lines, requests and files of tokens.

use std::time::Duration;

/// Why a text is no such number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseUnitError {
    /// Not a time.
    #[error("`{0}` is no time; write 90s, 30m or 2h")]
    Time(String),
    /// Not a size.
    #[error("`{0}` is no size; write 512MiB, 2GB or a number of bytes")]
    Size(String),
    /// Not a share.
    #[error("`{0}` is no number of processors; write 2, 1.5 or 500m")]
    Cpus(String),
}

/// `1h30m`, in seconds.
pub fn seconds(text: &str) -> Result<u64, ParseUnitError> {
    let wrong = || ParseUnitError::Time(text.to_owned());
    let (mut total, mut number) = (0_u64, String::new());
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character {
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let count: u64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|seconds| total.checked_add(seconds)).ok_or_else(wrong)?;
    }
    if number.is_empty() && !text.is_empty() { Ok(total) } else { Err(wrong()) }
}

/// The same as a duration.
pub fn duration(text: &str) -> Result<Duration, ParseUnitError> {
    seconds(text).map(Duration::from_secs)
}

/// `20GB` is 20 000 000 000, `20GiB`, `20Gi` and `20G` are 20 · 2³⁰.
pub fn bytes(text: &str) -> Result<u64, ParseUnitError> {
    let wrong = || ParseUnitError::Size(text.to_owned());
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_lowercase();
    let (base, exponent) = match unit.as_str() {
        "" | "b" => (1024, 0),
        "kb" => (1000, 1),
        "mb" => (1000, 2),
        "gb" => (1000, 3),
        "tb" => (1000, 4),
        "k" | "ki" | "kib" => (1024, 1),
        "m" | "mi" | "mib" => (1024, 2),
        "g" | "gi" | "gib" => (1024, 3),
        "t" | "ti" | "tib" => (1024, 4),
        _ => return Err(wrong()),
    };
    u64::pow(base, exponent).checked_mul(number).ok_or_else(wrong)
}

/// Thousandths of a processor.
pub fn millicpus(text: &str) -> Result<u32, ParseUnitError> {
    let wrong = || ParseUnitError::Cpus(text.to_owned());
    if let Some(text) = text.strip_suffix('m') {
        return text.parse().map_err(|_| wrong());
    }
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let part: u32 = format!("{part:0<3}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1000).and_then(|whole| whole.checked_add(part)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_read() {
        assert_eq!((seconds("1h30m"), seconds("90s")), (Ok(5400), Ok(90)));
        for (text, size) in [
            ("0", 0),
            ("7b", 7),
            ("20GB", 20_000_000_000),
            ("512MiB", 512 << 20),
            ("1k", 1024),
            ("2 tib", 2 << 40),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        assert_eq!((millicpus("1.5"), millicpus("500m"), millicpus("3")), (Ok(1500), Ok(500), Ok(3000)));
        for text in ["", "1", "s", "1w", "-1s", "99999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        for text in ["", "GB", "1x", "1GiX", "-1", "99999999999999T", "99999999999999999999"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["", "m", "1.", "1.2345", "-1", "a", "99999999"] {
            assert!(millicpus(text).is_err(), "{text}");
        }
    }
}
