//! `host[:port]`, as it stands in `Host` and in an origin.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host and, if given, a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    pub(super) host: Host<'a>,
    pub(super) port: Option<u16>,
}

/// An address or a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host<'a> {
    Address(IpAddr),
    /// A name as it came, to be compared with [`same_name`].
    Name(&'a str),
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Host::Address(one), Host::Address(other)) => one == other,
            (Host::Name(one), Host::Name(other)) => same_name(one, other),
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

impl<'a> Authority<'a> {
    /// Reads `host[:port]`; `None` for anything else (user information, paths, empty hosts, ports past 65535).
    pub(super) fn parse(text: &'a [u8]) -> Option<Authority<'a>> {
        let text = std::str::from_utf8(text).ok()?;
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            let port = match port {
                "" => None,
                _ => Some(parse_port(port.strip_prefix(':')?)?),
            };
            return Some(Authority { host: Host::Address(address.into()), port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(parse_port(port)?)),
            None => (text, None),
        };
        let host = match host.parse::<Ipv4Addr>() {
            Ok(address) => Host::Address(address.into()),
            Err(_) if is_name(host) => Host::Name(host),
            Err(_) => return None,
        };
        Some(Authority { host, port })
    }
}

fn parse_port(text: &str) -> Option<u16> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

/// Whether two names are the same: in any case, with or without the root's dot.
pub(super) fn same_name(one: &str, other: &str) -> bool {
    let rootless = |name| str::strip_suffix(name, ".").unwrap_or(name);
    rootless(one).eq_ignore_ascii_case(rootless(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        let name = |name: &'static str, port| Some(Authority { host: Host::Name(name), port });
        let address = |address: &str, port| {
            Some(Authority { host: Host::Address(address.parse().unwrap()), port })
        };
        for (text, expected) in [
            ("localhost", name("localhost", None)),
            ("LocalHost.:8080", name("localhost", Some(8080))),
            ("127.0.0.1", address("127.0.0.1", None)),
            ("10.1.2.3:65535", address("10.1.2.3", Some(65535))),
            ("[::1]", address("::1", None)),
            ("[fe80::1]:80", address("fe80::1", Some(80))),
            ("", None),
            (":80", None),
            ("host:", None),
            ("host:65536", None),
            ("host:+80", None),
            ("host:80:80", None),
            ("[::1", None),
            ("[::1]x", None),
            ("::1", None),
            ("user@host", None),
            ("host/path", None),
            ("ho st", None),
            ("127.1", name("127.1", None)),
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), expected, "{text}");
        }
    }
}
