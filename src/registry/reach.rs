//! Which addresses sources from the network may be fetched from: contexts, git repositories, files for ADD.
//!
//! A service builds what others tell it to, from inside a cluster; without a limit they could have it read what only
//! the cluster sees. The limit holds for the addresses that names resolve to at the moment a connection is made, so
//! neither redirects, submodules nor names that change their address lead around it. Registries are no sources.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::{Deserialize, Serialize};

/// Which addresses may be fetched from. Written `any`, or `public` with exceptions: `public,git.internal,10.1.0.0/16`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reach {
    /// All of them.
    #[default]
    Any,
    /// Those of the internet, and the excepted ones.
    Public(Vec<Exception>),
}

/// What may be fetched from besides the internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exception {
    /// A host by its name, wherever it is.
    Host(String),
    /// Hosts whose names end so; begins with a dot.
    Below(String),
    /// Addresses whose first so many bits are these.
    Network(IpAddr, u8),
}

/// Why a text is no [`Reach`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not say what may be fetched from: write `any`, or `public` with exceptions like `public,git.internal,*.corp,10.1.0.0/16`"
)]
pub struct ParseReachError(String);

/// A source may not be fetched from there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} is at {addresses}, where nothing may be fetched from: only public addresses are allowed here"
)]
pub struct OutOfReach {
    host: String,
    addresses: String,
}

impl Reach {
    /// Whether everything is within reach.
    pub fn is_any(&self) -> bool {
        *self == Self::Any
    }

    /// Of the addresses of `host`, those that may be connected to; an error if there are some, and none may.
    pub fn among(
        &self,
        host: &str,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, OutOfReach> {
        let all: Vec<SocketAddr> = addresses.into_iter().collect();
        let permitted: Vec<SocketAddr> =
            all.iter().copied().filter(|address| self.permits(host, address.ip())).collect();
        if permitted.is_empty() && !all.is_empty() {
            let addresses: Vec<String> = all.iter().map(|address| address.ip().to_string()).collect();
            return Err(OutOfReach { host: host.to_owned(), addresses: addresses.join(", ") });
        }
        Ok(permitted)
    }

    /// Looks up a host, and tells whether it can be fetched from. Blocks.
    pub fn check(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let found = (bare(host), port).to_socket_addrs()?;
        self.among(host, found).map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))
    }

    fn permits(&self, host: &str, address: IpAddr) -> bool {
        let Self::Public(exceptions) = self else { return true };
        let address = address.to_canonical();
        is_public(address) || exceptions.iter().any(|exception| exception.covers(host, address))
    }
}

/// An address of a URL without its brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

impl Exception {
    fn covers(&self, host: &str, address: IpAddr) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match self {
            Self::Host(name) => host == *name,
            Self::Below(end) => host.ends_with(end.as_str()),
            Self::Network(IpAddr::V4(network), bits) => match address {
                IpAddr::V4(address) => {
                    let shift = 32 - u32::from(*bits);
                    let first = |ip: Ipv4Addr| u64::from(ip.to_bits()) >> shift;
                    first(*network) == first(address)
                }
                IpAddr::V6(_) => false,
            },
            Self::Network(IpAddr::V6(network), bits) => match address {
                IpAddr::V6(address) => {
                    let shift = 128 - u32::from(*bits);
                    let first = |ip: Ipv6Addr| ip.to_bits().checked_shr(shift).unwrap_or_default();
                    first(*network) == first(address)
                }
                IpAddr::V4(_) => false,
            },
        }
    }
}

/// Whether an address is one of the internet's, by IANA's registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => {
            let [first, second, third, .., last_but_one, last] = ip.segments();
            let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
            // Addresses that hold others: 6to4, and what NAT64 makes of IPv4.
            match (first, second) {
                (0x2002, _) => is_public_v4(v4(second, third)),
                (0x64, 0xff9b) => ip.segments()[2..6] == [0; 4] && is_public_v4(v4(last_but_one, last)),
                // 2000::/3 is what is given out; of it Teredo, ORCHID, documentation and their like are not.
                (0x2001, second) => second >= 0x200 && second != 0xdb8,
                (0x3fff, second) => second >= 0x1000,
                (first, _) => first & 0xe000 == 0x2000,
            }
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || a == 0
        || a >= 224
        // Carriers' and clusters' own, protocol assignments, benchmarks.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19)))
}

impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            let permitted = reach.among(&host, found)?;
            Ok(Box::new(permitted.into_iter()) as Addrs)
        })
    }
}

impl FromStr for Reach {
    type Err = ParseReachError;

    fn from_str(text: &str) -> Result<Self, ParseReachError> {
        let wrong = || ParseReachError(text.to_owned());
        let mut parts = text.split(',');
        match parts.next() {
            Some("any") if parts.next().is_none() => Ok(Self::Any),
            Some("public") => parts
                .map(|part| exception(part).ok_or_else(wrong))
                .collect::<Result<_, _>>()
                .map(Self::Public),
            _ => Err(wrong()),
        }
    }
}

fn exception(text: &str) -> Option<Exception> {
    if let Some((address, bits)) = text.split_once('/') {
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        return (bits <= most).then_some(Exception::Network(address, bits));
    }
    if let Ok(address) = bare(text).parse::<IpAddr>() {
        return Some(Exception::Network(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("*.") {
        Some(rest) => is_name(rest).then(|| Exception::Below(format!(".{rest}"))),
        None => is_name(&lower).then_some(Exception::Host(lower)),
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Public(exceptions) => {
                f.write_str("public")?;
                exceptions.iter().try_for_each(|exception| match exception {
                    Exception::Host(name) => write!(f, ",{name}"),
                    Exception::Below(end) => write!(f, ",*{end}"),
                    Exception::Network(address, bits) => write!(f, ",{address}/{bits}"),
                })
            }
        }
    }
}

impl TryFrom<String> for Reach {
    type Error = ParseReachError;

    fn try_from(text: String) -> Result<Self, ParseReachError> {
        text.parse()
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> Self {
        reach.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_internet_and_what_is_excepted() {
        let reach: Reach = "public,git.internal,*.corp,10.1.0.0/16,fd00::/8".parse().unwrap();
        for (host, address, expected) in [
            ("a", "1.1.1.1", true),
            ("a", "2606:4700::1111", true),
            ("a", "127.0.0.1", false),
            ("a", "10.0.0.1", false),
            ("a", "10.1.255.1", true),
            ("a", "100.64.0.1", false),
            ("a", "100.128.0.1", true),
            ("a", "169.254.169.254", false),
            ("a", "172.16.0.1", false),
            ("a", "192.168.0.1", false),
            ("a", "0.0.0.0", false),
            ("a", "255.255.255.255", false),
            ("a", "::1", false),
            ("a", "::", false),
            ("a", "fe80::1", false),
            ("a", "fd12::1", true),
            ("a", "fc00::1", false),
            ("a", "ff02::1", false),
            ("a", "::ffff:127.0.0.1", false),
            ("a", "::ffff:10.1.0.1", true),
            ("a", "64:ff9b::7f00:1", false),
            ("a", "64:ff9b::101:101", true),
            ("a", "2002:7f00:1::", false),
            ("a", "2001:db8::1", false),
            ("git.internal", "10.0.0.1", true),
            ("GIT.internal.", "10.0.0.1", true),
            ("xgit.internal", "10.0.0.1", false),
            ("a.corp", "127.0.0.1", true),
            ("corp", "127.0.0.1", false),
        ] {
            assert_eq!(reach.permits(host, address.parse().unwrap()), expected, "{host} {address}");
        }
        assert!(Reach::Any.permits("a", "127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn one_good_address_is_enough_and_the_bad_ones_are_not_used() {
        let reach: Reach = "public".parse().unwrap();
        let (good, bad): (SocketAddr, SocketAddr) =
            ("1.1.1.1:80".parse().unwrap(), "127.0.0.1:80".parse().unwrap());
        assert_eq!(reach.among("a", [bad, good]), Ok(vec![good]));
        let error = reach.among("a", [bad]).unwrap_err().to_string();
        assert!(error.starts_with("a is at 127.0.0.1, where nothing may be fetched"), "{error}");
        assert!(reach.check("localhost", 80).is_err() && reach.check("[::1]", 80).is_err());
    }

    #[test]
    fn is_written_as_it_is_read() {
        for text in ["any", "public", "public,git.internal,*.corp,10.1.0.0/16,::/0"] {
            assert_eq!(text.parse::<Reach>().unwrap().to_string(), text);
        }
        for text in ["", "private", "any,a", "public,", "public,10.0.0.0/33", "public,a b", "public,*."] {
            assert!(text.parse::<Reach>().is_err(), "{text}");
        }
    }
}
