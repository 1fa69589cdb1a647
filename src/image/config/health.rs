//! Health checks and their durations.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient;

/// How to tell whether a container is well: HEALTHCHECK.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", program, …]` or `["CMD-SHELL", command]`. Empty means as in the base image.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    pub test: Vec<String>,
    /// Time between two checks. 0 means the default, as for all of these.
    #[serde(skip_serializing_if = "Nanoseconds::is_zero", deserialize_with = "lenient")]
    pub interval: Nanoseconds,
    /// How long a check may take.
    #[serde(skip_serializing_if = "Nanoseconds::is_zero", deserialize_with = "lenient")]
    pub timeout: Nanoseconds,
    /// How long failures do not count after the start.
    #[serde(skip_serializing_if = "Nanoseconds::is_zero", deserialize_with = "lenient")]
    pub start_period: Nanoseconds,
    /// Time between two checks during the start period.
    #[serde(skip_serializing_if = "Nanoseconds::is_zero", deserialize_with = "lenient")]
    pub start_interval: Nanoseconds,
    /// How many failures in a row make a container unhealthy.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "lenient")]
    pub retries: i64,
    /// What this program has no field for.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A Go duration: a number in JSON, `1m30s` in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nanoseconds(pub i64);

impl Nanoseconds {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Nanoseconds {
    /// As Go's `time.Duration.String`: `0s`, `1ns`, `1.5ms`, `1m0s`, `-1h0m0.5s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: u64 = 1_000_000_000;
        let nanoseconds = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let (unit, name) = match nanoseconds {
            0 => return f.write_str("0s"),
            1..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..SECOND => (1_000_000, "ms"),
            _ => (SECOND, "s"),
        };
        let seconds = nanoseconds / SECOND;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h{minutes}m")?;
        } else if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        let whole = if unit == SECOND { seconds % 60 } else { nanoseconds / unit };
        write!(f, "{whole}")?;
        let fraction = nanoseconds % unit;
        if fraction > 0 {
            let digits = unit.ilog10() as usize;
            let text = format!("{fraction:0digits$}");
            write!(f, ".{}", text.trim_end_matches('0'))?;
        }
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_durations_as_go_does() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (100_000_000, "100ms"),
            (1_000_000_000, "1s"),
            (3_300_000_000, "3.3s"),
            (60_000_000_000, "1m0s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (3_600_000_000_000, "1h0m0s"),
            (480_000_000_001, "8m0.000000001s"),
            (-1_500_000_000, "-1.5s"),
            (i64::MAX, "2562047h47m16.854775807s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(Nanoseconds(nanoseconds).to_string(), text);
        }
    }
}
