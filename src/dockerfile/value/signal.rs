//! Signals as `STOPSIGNAL` takes them.

/// Why a text is no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid signal: {0}: write a name like SIGTERM or a number like 15")]
pub struct ParseSignalError(String);

/// The signals of Linux on amd64 and arm64, in the order of their numbers from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Second names.
const ALIASES: [(&str, u8); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// First and last of the real-time signals.
const REAL_TIME: (u8, u8) = (34, 64);

/// Parses a signal, variables expanded: a number up to 64, or a name with or without `SIG` in any case.
pub fn parse_signal(text: &str) -> Result<u8, ParseSignalError> {
    let error = || ParseSignalError(text.to_owned());
    let name = text.to_ascii_uppercase();
    if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) {
        return name.parse().ok().filter(|number| (1..=REAL_TIME.1).contains(number)).ok_or_else(error);
    }
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let position =
        NAMES.iter().position(|known| *known == name).and_then(|index| u8::try_from(index + 1).ok());
    let alias = || ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, number)| *number);
    position.or_else(alias).or_else(|| real_time(name)).ok_or_else(error)
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`.
fn real_time(name: &str) -> Option<u8> {
    let (from_start, offset) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => (true, 0),
        (_, Some("")) => (false, 0),
        (Some(rest), _) => (true, number(rest.strip_prefix('+')?)?),
        (_, Some(rest)) => (false, number(rest.strip_prefix('-')?)?),
        _ => return None,
    };
    let (first, last) = REAL_TIME;
    let signal = if from_start { first.checked_add(offset)? } else { last.checked_sub(offset)? };
    (first..=last).contains(&signal).then_some(signal)
}

fn number(digits: &str) -> Option<u8> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_signals() {
        // 1.9: name with/without SIG or number
        for (text, signal) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGCLD", 17),
            ("SIGSYS", 31),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("RTMIN", 34),
            ("64", 64),
        ] {
            assert_eq!(parse_signal(text), Ok(signal), "{text}");
        }
    }

    #[test]
    fn refuses_others() {
        for text in ["", "0", "65", "-1", "SIG", "SIGNOPE", "RTMIN+31", "RTMIN+-1", "RTMAX-99", "15s"] {
            assert!(parse_signal(text).unwrap_err().to_string().starts_with("Invalid signal"), "{text}");
        }
    }
}
