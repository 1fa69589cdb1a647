//! Sizes in memory: `64m`, `1.5GiB`.

/// Parses a number with a binary unit, to bytes; `None` if it is none. `k`, `kb` and `kib` are all 1024.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let factor = 1_u64 << shift;
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(factor)? / 10_u64.pow(digits);
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes() {
        // 1.7: tmpfs size e.g. 128m
        for (text, bytes) in [
            ("0", Some(0)),
            ("128m", Some(128 << 20)),
            ("1.5GiB", Some(3 << 29)),
            ("64 kb", Some(64 << 10)),
            ("7b", Some(7)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1.m", None),
            ("1.2.3m", None),
            ("1x", None),
            ("99999999999p", None),
            ("1é", None),
        ] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
    }
}
