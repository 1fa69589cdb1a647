//! Numbers in header fields.

/// Reads a numeric field: octal digits with blanks and zero bytes around them, or GNU's base-256 form, which is
/// big-endian two's complement marked by the highest bit. An empty field is 0.
pub(super) fn parse(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => parse_binary(field),
        _ => parse_octal(field),
    }
}

fn parse_octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte)).unwrap_or(field.len());
    let digits = field[start..].split(blank).next().unwrap_or_default();
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn parse_binary(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    // The mark is not part of the number; the bit below it is the sign.
    let start = if first & 0x40 == 0 { i128::from(first & 0x3f) } else { i128::from(first & 0x3f) - 0x40 };
    let value =
        rest.iter().try_fold(start, |value, byte| value.checked_mul(256)?.checked_add(i128::from(*byte)))?;
    i64::try_from(value).ok()
}

/// Reads a decimal number as PAX records hold them.
pub(super) fn parse_decimal<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads a PAX time, `-12.75`, as whole seconds rounded towards the past.
pub(super) fn parse_time(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let rounds_down = whole.starts_with('-') && fraction.bytes().any(|byte| byte != b'0');
    if rounds_down { seconds.checked_sub(1) } else { Some(seconds) }
}

/// Writes octal digits over the whole field but a closing zero byte. `false` when the number does not fit; the
/// field then says 0.
pub(super) fn write_octal(field: &mut [u8], mut value: u64) -> bool {
    let Some((last, digits)) = field.split_last_mut() else { return value == 0 };
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
    if value != 0 {
        digits.fill(b'0');
    }
    value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_octal_and_binary() {
        for (field, value) in [
            (&b""[..], Some(0)),
            (b"\0\0\0", Some(0)),
            (b"   ", Some(0)),
            (b"0000755\0", Some(0o755)),
            (b"  755 \0", Some(0o755)),
            (b"755\0junk", Some(0o755)),
            (b"77777777777", Some(0o777_7777_7777)),
            (b"0000888\0", None),
            (b"-1\0", None),
            (b"\x80\0\0\0\0\0\0\x01", Some(1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\0\x02\0\0\0\0\0\0\0", Some(1 << 57)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", None),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(parse(field), value, "{field:?}");
        }
    }

    #[test]
    fn rounds_times_down() {
        for (text, value) in [
            ("0", Some(0)),
            ("12.999999999", Some(12)),
            ("-12", Some(-12)),
            ("-12.0", Some(-12)),
            ("-12.5", Some(-13)),
            ("-0.5", Some(-1)),
            ("12.", Some(12)),
            ("12.x", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parse_time(text.as_bytes()), value, "{text}");
        }
    }

    #[test]
    fn writes_octal() {
        let mut field = [b'x'; 8];
        assert!(write_octal(&mut field, 0o755));
        assert_eq!(&field, b"0000755\0");
        assert!(write_octal(&mut field, 0o777_7777));
        assert!(!write_octal(&mut field, 0o1000_0000));
        assert_eq!(&field, b"0000000\0");
    }
}
