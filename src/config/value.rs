//! The texts that stand for addresses, sizes and choices.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IP address and port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only processes of this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ();

    /// `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, `8080` (on 127.0.0.1) or `unix:PATH`.
    fn from_str(text: &str) -> Result<ListenAddress, ()> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(()) } else { Ok(ListenAddress::Unix(path.into())) };
        }
        if let Ok(port) = text.parse() {
            return Ok(ListenAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        let text = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        text.parse().map(ListenAddress::Tcp).map_err(|_| ())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => write!(f, "{address}"),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Defines an enum whose values are chosen by name.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<$name, ()> {
                match text { $($text => Ok($name::$variant),)* _ => Err(()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($name::$variant => $text,)* })
            }
        }
    };
}

choice! {
    /// When a batch is closed.
    CommitMode {
        /// As soon as a poll finds nothing to do: a lone event is visible at once.
        Adaptive = "adaptive",
        /// Shortly before the window ends: larger batches, later.
        Window = "window",
    }
}

choice! {
    /// What happens when a living reliable reader fills the log.
    FullPolicy {
        /// The games are held, and told 503 in the end.
        Hold = "hold",
        /// The reader is detached, and learns what it missed.
        Detach = "detach",
    }
}

choice! {
    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// Where batches are published beyond this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bus {
    /// Nowhere.
    None,
    /// To an Event Bus on a thread of this process.
    Embedded,
    /// To the Event Bus at this URL.
    Url(String),
}

impl FromStr for Bus {
    type Err = ();

    fn from_str(text: &str) -> Result<Bus, ()> {
        match text {
            "none" => Ok(Bus::None),
            "embedded" => Ok(Bus::Embedded),
            _ => {
                let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
                match rest {
                    Some(host) if !host.is_empty() => Ok(Bus::Url(text.to_owned())),
                    _ => Err(()),
                }
            }
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bus::None => "none",
            Bus::Embedded => "embedded",
            Bus::Url(url) => url,
        })
    }
}

/// Bytes from `1048576`, `1024KiB` or `1MiB`; a `B`, `K`, `KB` and so on count in 1024 too.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// Bytes as people write them: the largest unit that leaves no fraction.
pub(super) fn show_bytes(bytes: u64) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form_and_shown_in_one() {
        for (text, shown) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:8765", "127.0.0.1:8765"),
            ("8080", "127.0.0.1:8080"),
            ("unix:/run/jimbot.sock", "unix:/run/jimbot.sock"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), shown);
        }
        for wrong in ["", "localhost", "unix:", "127.0.0.1", "127.0.0.1:99999", "game.local:80"] {
            assert!(wrong.parse::<ListenAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("64KiB", 65_536),
            ("256 MiB", 268_435_456),
            ("3m", 3_145_728),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for wrong in ["", "MiB", "-1", "1.5MiB", "12 potatoes", "99999999999GiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
        assert_eq!(
            (show_bytes(268_435_456), show_bytes(1000)),
            ("256MiB".to_owned(), "1000".to_owned())
        );
    }
}
