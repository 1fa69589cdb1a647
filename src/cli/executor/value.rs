//! Values of flags, with Go's words for what is wrong with them.

use super::flag::Kind;
use crate::dockerfile::parse_duration;

/// Whether `value` can be a value of this kind; `known` are those that came before it.
pub(super) fn check(kind: Kind, value: &str, known: &[String]) -> Result<(), String> {
    match kind {
        Kind::Text | Kind::Texts => Ok(()),
        Kind::Switch => switch(value).map(|_| ()),
        Kind::Number => number(value).map(|_| ()),
        Kind::Duration => duration(value).map(|_| ()),
        Kind::List => list(value).map(|_| ()),
        Kind::Pairs => pair(value),
        Kind::Maps if value.is_empty() => Ok(()),
        Kind::Maps => value.split(';').try_for_each(pair),
        Kind::Git => git(value),
        Kind::Compression if matches!(value, "gzip" | "zstd") => Ok(()),
        Kind::Compression => Err(r#"must be either "gzip" or "zstd""#.to_owned()),
        Kind::Format if matches!(value, "docker" | "oci") => Ok(()),
        Kind::Format => Err(r#"must be either "docker" or "oci""#.to_owned()),
        Kind::Secret => {
            let id = super::secret::parse(value, |_| None)?.0;
            let is_known = known
                .iter()
                .filter_map(|text| super::secret::parse(text, |_| None).ok())
                .any(|(other, _)| other == id);
            if is_known { Err(format!("secret with ID {id:?} is already defined")) } else { Ok(()) }
        }
    }
}

/// As Go's `strconv.ParseBool`.
pub(super) fn switch(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {value:?}: invalid syntax")),
    }
}

/// As Go's `strconv.ParseInt` with base 0: decimal, or after `0x`, `0o`, `0b` or `0` another base.
pub(super) fn number(value: &str) -> Result<i64, String> {
    let failed = |why: &str| format!("strconv.ParseInt: parsing {value:?}: {why}");
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value.strip_prefix('+').unwrap_or(value)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || digits.chars().any(|digit| !digit.is_digit(base)) {
        return Err(failed("invalid syntax"));
    }
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    i64::from_str_radix(&signed, base).map_err(|_| failed("value out of range"))
}

/// Nanoseconds.
pub(super) fn duration(value: &str) -> Result<i64, String> {
    parse_duration(value).map_err(|error| error.to_string())
}

/// A line of CSV: commas separate, and double quotes hold commas.
pub(super) fn list(value: &str) -> Result<Vec<String>, String> {
    if value.is_empty() {
        return Ok(Vec::new());
    }
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        let is_first = fields.last().is_some_and(String::is_empty);
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => {
                fields.last_mut().into_iter().for_each(|field| field.push('"'));
            }
            '"' if quoted || is_first => quoted = !quoted,
            '"' => return Err("parse error on line 1, column 1: bare \" in non-quoted field".to_owned()),
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().into_iter().for_each(|field| field.push(other)),
        }
    }
    if quoted {
        return Err("parse error on line 1: extraneous or missing \" in quoted-field".to_owned());
    }
    Ok(fields)
}

fn pair(value: &str) -> Result<(), String> {
    match value.split_once('=') {
        Some(_) => Ok(()),
        None => Err(format!("invalid argument value. expect key=value, got {value}")),
    }
}

fn git(value: &str) -> Result<(), String> {
    match value.split_once('=') {
        None => Err(format!("invalid git flag, must be in the key=value format: {value}")),
        Some(("branch", _)) => Ok(()),
        Some(("depth", depth)) => number(depth).map(|_| ()),
        Some(("single-branch" | "recurse-submodules" | "insecure-skip-tls", value)) => {
            switch(value).map(|_| ())
        }
        Some((key, _)) => Err(format!(
            "there is no {key:?}; there are branch, single-branch, depth, recurse-submodules and insecure-skip-tls"
        )),
    }
}
