//! Ports as `EXPOSE` takes them.

use std::fmt;
use std::net::IpAddr;

/// Ports that a container listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// The first port.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// Of which protocol.
    pub protocol: Protocol,
    /// Whether an address or a host port stands before it, which means nothing in `EXPOSE`.
    pub published: bool,
}

/// Protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[expect(missing_docs, reason = "the variants are the protocols' names")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

/// Why a text names no ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePortError {
    /// Nothing before the protocol.
    #[error("no port specified: {0}: write it like 80 or 8000-8010/udp")]
    Missing(String),
    /// Not a number up to 65535, or a range of such.
    #[error("invalid containerPort: {0}")]
    Container(String),
    /// The same before the colon.
    #[error("invalid hostPort: {0}")]
    Host(String),
    /// Another protocol than tcp, udp and sctp.
    #[error("invalid proto: {0}: it is tcp, udp or sctp")]
    Protocol(String),
    /// Something before the host's port that is no address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// So many of one, so many of the other.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container's.
        container: String,
        /// The host's.
        host: String,
    },
}

/// Parses `[[address:]host:]port[-port][/protocol]`, variables expanded. The protocol may be in any case.
pub fn parse_port_spec(text: &str) -> Result<PortSpec, ParsePortError> {
    let (ports, protocol) = match text.split_once('/') {
        Some((ports, protocol)) => (ports, parse_protocol(protocol)?),
        None => (text, Protocol::Tcp),
    };
    let (host, container) = match ports.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, ports),
    };
    if container.is_empty() {
        return Err(ParsePortError::Missing(text.to_owned()));
    }
    let (first, last) =
        parse_range(container).ok_or_else(|| ParsePortError::Container(container.to_owned()))?;
    if let Some(host) = host {
        check_host(host, container, last - first)?;
    }
    Ok(PortSpec { first, last, protocol, published: host.is_some() })
}

fn parse_protocol(text: &str) -> Result<Protocol, ParsePortError> {
    match text.to_ascii_lowercase().as_str() {
        // BuildKit takes `80/` as `80/tcp`.
        "tcp" | "" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        _ => Err(ParsePortError::Protocol(text.to_owned())),
    }
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    match text.split_once('-') {
        Some((first, last)) => Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last),
        None => number(text).map(|port| (port, port)),
    }
}

/// `[address:][ports]`, where there are as many ports as the container has.
fn check_host(text: &str, container: &str, span: u16) -> Result<(), ParsePortError> {
    let (address, ports) = match text.rsplit_once(':') {
        Some((address, ports)) => (Some(address), ports),
        None => (None, text),
    };
    if let Some(address) = address {
        let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
            return Err(ParsePortError::Address(address.to_owned()));
        }
    }
    if ports.is_empty() {
        return Ok(());
    }
    let (first, last) = parse_range(ports).ok_or_else(|| ParsePortError::Host(ports.to_owned()))?;
    // One container port may be published on any port of a range.
    if last - first == span || span == 0 {
        return Ok(());
    }
    Err(ParsePortError::Ranges { container: container.to_owned(), host: ports.to_owned() })
}

impl PortSpec {
    /// The ports as a config lists them: `80/tcp`.
    pub fn ports(&self) -> impl Iterator<Item = String> {
        let protocol = self.protocol;
        (self.first..=self.last).map(move |port| format!("{port}/{protocol}"))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports() {
        for (text, ports, published) in [
            // 1.9: default tcp; stored as `80/tcp`; ranges expanded; ip/host part tolerated
            ("80", vec!["80/tcp"], false),
            ("53/UDP", vec!["53/udp"], false),
            ("7/sctp", vec!["7/sctp"], false),
            ("80-82/tcp", vec!["80/tcp", "81/tcp", "82/tcp"], false),
            ("8080:80", vec!["80/tcp"], true),
            ("127.0.0.1:8080:80/tcp", vec!["80/tcp"], true),
            ("[::1]:8080:80", vec!["80/tcp"], true),
            ("127.0.0.1::80", vec!["80/tcp"], true),
            ("8080-8081:80-81", vec!["80/tcp", "81/tcp"], true),
            ("65535", vec!["65535/tcp"], false),
        ] {
            let spec = parse_port_spec(text).unwrap();
            assert_eq!(spec.ports().collect::<Vec<_>>(), ports, "{text}");
            assert_eq!(spec.published, published, "{text}");
        }
    }

    #[test]
    fn refuses_others() {
        for (text, message) in [
            ("", "no port specified: "),
            ("/tcp", "no port specified: /tcp"),
            ("x", "invalid containerPort: x"),
            ("65536", "invalid containerPort: 65536"),
            ("82-80", "invalid containerPort: 82-80"),
            ("+80", "invalid containerPort: +80"),
            ("80/icmp", "invalid proto: icmp"),
            ("a:80", "invalid hostPort: a"),
            ("x:1:80", "invalid IP address: x"),
            ("1-3:80-81", "invalid ranges specified for container and host Ports: 80-81 and 1-3"),
        ] {
            let error = parse_port_spec(text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
