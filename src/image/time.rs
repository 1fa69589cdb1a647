//! Times as image configs hold them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment, written in RFC 3339 with `Z`, with only the fraction digits it needs, as Go writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Time(Timestamp);

/// Why a text or number is not a [`Time`].
#[derive(Debug, thiserror::Error)]
pub enum TimeError {
    /// Not in the format of RFC 3339.
    #[error("`{text}` is not a time: expected the form 2026-01-31T23:59:59Z")]
    Malformed {
        /// What was found.
        text: String,
        /// What is wrong with it.
        #[source]
        source: jiff::Error,
    },
    /// Outside the years that can be written.
    #[error("{seconds} seconds since 1970 is beyond the years a time can have")]
    OutOfRange {
        /// What was asked for.
        seconds: i64,
    },
}

impl Time {
    /// The first second of 1970.
    pub const EPOCH: Self = Self(Timestamp::UNIX_EPOCH);

    /// A moment by whole seconds since 1970, as in `SOURCE_DATE_EPOCH`.
    pub fn from_epoch(seconds: i64) -> Result<Self, TimeError> {
        Timestamp::from_second(seconds).map(Self).map_err(|_| TimeError::OutOfRange { seconds })
    }

    /// The present. The one place of this module that looks at a clock.
    pub fn now() -> Self {
        Self(Timestamp::now())
    }

    /// Whole seconds since 1970, rounded towards the past: what a tar header of this moment says.
    pub fn epoch_seconds(self) -> i64 {
        let seconds = self.0.as_second();
        if self.0.subsec_nanosecond() < 0 { seconds - 1 } else { seconds }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|source| TimeError::Malformed { text: text.to_owned(), source })
    }
}

impl TryFrom<String> for Time {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        for (text, written) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2024-02-29T12:30:45.120000000Z", "2024-02-29T12:30:45.12Z"),
            ("2024-02-29T12:30:45.123456789+01:00", "2024-02-29T11:30:45.123456789Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), written);
        }
        assert_eq!(Time::from_epoch(0).unwrap().to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Time::from_epoch(1_700_000_000).unwrap().to_string(), "2023-11-14T22:13:20Z");
        assert_eq!("1969-12-31T23:59:58.5Z".parse::<Time>().unwrap().epoch_seconds(), -2);
    }

    #[test]
    fn refuses() {
        for text in ["", "yesterday", "2024-02-30T00:00:00Z", "2024-02-29"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        assert!(matches!(Time::from_epoch(i64::MAX), Err(TimeError::OutOfRange { .. })));
    }
}
