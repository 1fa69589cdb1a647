//! Modes of files as `chmod(1)` takes them.

use std::fmt;

/// What `--chmod` does to a mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// Replaces it by these bits, at most `0o7777`.
    Octal(u32),
    /// Changes it step by step.
    Symbolic(Vec<ModeChange>),
}

/// One `u+x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeChange {
    /// Bits of user, group, others that may change: of `0o777`.
    who: u32,
    operation: Operation,
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permissions {
    /// `rwxXst`.
    Bits {
        /// `r`, `w`, `x` as in `0o7`.
        bits: u32,
        /// `X`: execute if it is a directory or somebody may execute already.
        conditional: bool,
        /// `s`.
        set_id: bool,
        /// `t`.
        sticky: bool,
    },
    /// What user (6), group (3) or others (0) have: the shift.
    CopyOf(u32),
}

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseChmodError {
    /// A number that is not octal or too large.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Octal(String),
    /// No number, but nothing symbolic either.
    #[error("invalid chmod parameter: '{0}'. it should be octal like 0755 or symbolic like u=rwX,go=rX")]
    Symbolic(String),
}

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// Parses the value of `--chmod`, variables expanded: octal digits up to 07777, or symbolic as in `chmod(1)`,
/// where a missing "who" means all (there is
/// no umask in a build). An empty value is none: BuildKit takes `--chmod=` for a missing flag, and so does the
/// parser.
pub fn parse_chmod(text: &str) -> Result<Chmod, ParseChmodError> {
    if !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) {
        return parse_symbolic(text);
    }
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.map(Chmod::Octal).ok_or_else(|| ParseChmodError::Octal(text.to_owned()))
}

fn parse_symbolic(text: &str) -> Result<Chmod, ParseChmodError> {
    let mut changes = Vec::new();
    for clause in text.split(',') {
        parse_clause(clause, &mut changes).ok_or_else(|| ParseChmodError::Symbolic(text.to_owned()))?;
    }
    Ok(Chmod::Symbolic(changes))
}

/// `[ugoa]*([-+=]([rwxXst]*|[ugo]))+`, where only `=` may have no permissions
fn parse_clause(clause: &str, changes: &mut Vec<ModeChange>) -> Option<()> {
    let rest = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    let named = clause.strip_suffix(rest)?;
    let who = named.chars().fold(0, |who, c| who | class(c));
    let who = if named.is_empty() { 0o777 } else { who };
    let mut rest = rest;
    loop {
        let operation = match rest.chars().next()? {
            '+' => Operation::Add,
            '-' => Operation::Remove,
            '=' => Operation::Set,
            _ => return None,
        };
        let after = rest.get(1..)?;
        let next = after.find(['+', '-', '=']).unwrap_or(after.len());
        let letters = after.get(..next)?;
        if letters.is_empty() && operation != Operation::Set {
            return None;
        }
        let permissions = parse_permissions(letters)?;
        changes.push(ModeChange { who, operation, permissions });
        rest = after.get(next..)?;
        if rest.is_empty() {
            return Some(());
        }
    }
}

fn class(c: char) -> u32 {
    match c {
        'u' => 0o700,
        'g' => 0o070,
        'o' => 0o007,
        _ => 0o777,
    }
}

fn parse_permissions(text: &str) -> Option<Permissions> {
    match text {
        "u" => return Some(Permissions::CopyOf(6)),
        "g" => return Some(Permissions::CopyOf(3)),
        "o" => return Some(Permissions::CopyOf(0)),
        _ => {}
    }
    let (mut bits, mut conditional, mut set_id, mut sticky) = (0, false, false, false);
    for c in text.chars() {
        match c {
            'r' => bits |= 4,
            'w' => bits |= 2,
            'x' => bits |= 1,
            'X' => conditional = true,
            's' => set_id = true,
            't' => sticky = true,
            _ => return None,
        }
    }
    Some(Permissions::Bits { bits, conditional, set_id, sticky })
}

impl Chmod {
    /// The mode that a file of `mode` gets.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(bits) => *bits,
            Self::Symbolic(changes) => {
                let executable = is_directory || mode & 0o111 != 0;
                changes.iter().fold(mode & 0o7777, |mode, change| change.apply(mode, executable))
            }
        }
    }
}

impl fmt::Display for Chmod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octal(mode) => write!(f, "{mode:o}"),
            Self::Symbolic(changes) => {
                for (position, change) in changes.iter().enumerate() {
                    let comma = if position == 0 { "" } else { "," };
                    write!(f, "{comma}{change}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for ModeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = |letters: &[(bool, char)]| -> String {
            letters.iter().filter(|(chosen, _)| *chosen).map(|(_, letter)| letter).collect()
        };
        let who = [(self.who & 0o700 != 0, 'u'), (self.who & 0o070 != 0, 'g'), (self.who & 0o007 != 0, 'o')];
        let operation = match self.operation {
            Operation::Add => '+',
            Operation::Remove => '-',
            Operation::Set => '=',
        };
        let permissions = match self.permissions {
            Permissions::CopyOf(6) => "u".to_owned(),
            Permissions::CopyOf(3) => "g".to_owned(),
            Permissions::CopyOf(_) => "o".to_owned(),
            Permissions::Bits { bits, conditional, set_id, sticky } => chosen(&[
                (bits & 4 != 0, 'r'),
                (bits & 2 != 0, 'w'),
                (bits & 1 != 0, 'x'),
                (conditional, 'X'),
                (set_id, 's'),
                (sticky, 't'),
            ]),
        };
        write!(f, "{}{operation}{permissions}", chosen(&who))
    }
}

impl ModeChange {
    /// The changed mode; `executable` says whether `X` is `x`.
    fn apply(self, mode: u32, executable: bool) -> u32 {
        let bits = self.bits(mode, executable);
        match (self.operation, self.permissions) {
            (Operation::Add, _) => mode | bits,
            (Operation::Remove, _) => mode & !bits,
            (Operation::Set, Permissions::CopyOf(_)) => mode & !self.who | bits,
            // As BSD's chmod, which BuildKit has, it takes the set-id bits away, of directories too.
            (Operation::Set, Permissions::Bits { .. }) => mode & !(self.who | self.set_id_bits()) | bits,
        }
    }

    /// The bits that are named, for those that are named.
    fn bits(self, mode: u32, executable: bool) -> u32 {
        match self.permissions {
            Permissions::CopyOf(shift) => {
                let bits = mode >> shift & 7;
                (bits << 6 | bits << 3 | bits) & self.who
            }
            Permissions::Bits { bits, conditional, set_id, sticky } => {
                let bits = bits | u32::from(conditional && executable);
                let permissions = (bits << 6 | bits << 3 | bits) & self.who;
                let set_id = if set_id { self.set_id_bits() } else { 0 };
                let sticky = if sticky && self.who != 0o007 { STICKY } else { 0 };
                permissions | set_id | sticky
            }
        }
    }

    /// The set-id bits of those that are named.
    fn set_id_bits(self) -> u32 {
        let user = if self.who & 0o700 == 0 { 0 } else { SET_USER };
        let group = if self.who & 0o070 == 0 { 0 } else { SET_GROUP };
        user | group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_it_is_read() {
        for (text, expected) in [
            ("0755", "755"),
            ("u=rwX,go=rX", "u=rwX,go=rX"),
            ("a+x", "ugo+x"),
            ("+t-s", "ugo+t,ugo-s"),
            ("g=u,o=", "g=u,o="),
        ] {
            let written = parse_chmod(text).unwrap().to_string();
            assert_eq!(written, expected);
            assert_eq!(parse_chmod(&written).unwrap(), parse_chmod(text).unwrap(), "{text}");
        }
    }

    #[test]
    fn applies_modes() {
        for (text, before, is_directory, after) in [
            // 1.8: octal 0–07777
            ("755", 0o644, false, 0o755),
            ("0", 0o644, false, 0),
            ("07777", 0, false, 0o7777),
            // 1.8: symbolic (`+x`, `g=u`, `u=rwX,go=rX`, capital X conditional)
            ("+x", 0o644, false, 0o755),
            ("-w", 0o777, false, 0o555),
            ("g=u", 0o740, false, 0o770),
            ("o=g-w", 0o760, false, 0o764),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("a=", 0o777, false, 0),
            ("go-rwx", 0o755, false, 0o700),
            ("u+s", 0o755, false, 0o4755),
            ("g+s,+t", 0o755, true, 0o3755),
            ("u=rwx", 0o4644, false, 0o744),
            ("u=rwx", 0o4644, true, 0o744),
            ("g=u", 0o2700, false, 0o2770),
            ("a=rx", 0o7777, true, 0o1555),
            ("o+t", 0o755, true, 0o755),
            ("a-x,a+X", 0o700, false, 0o711),
            ("ug+rw,o-r", 0o004, false, 0o660),
        ] {
            let mode = parse_chmod(text).unwrap();
            assert_eq!(mode.apply(before, is_directory), after, "{text} {before:o} gives {after:o}");
        }
    }

    #[test]
    fn refuses_others() {
        for text in ["", "8", "17777", "0x1", "755a", "7 7", "99999999999999999999"] {
            let message = parse_chmod(text).unwrap_err().to_string();
            let expected = format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            );
            assert_eq!(message, expected);
        }
        for text in ["x", "u", "u+", "u+q", "u+rw,", ",u+r", "z=r", "u=gr", "é", "+é", "-", "-1", "u+r-"] {
            assert!(matches!(parse_chmod(text), Err(ParseChmodError::Symbolic(_))), "{text}");
        }
    }
}
