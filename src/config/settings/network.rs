//! Settings of listeners, access, limits and times.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::{
    Group, Kind, Setting, bytes, each, list, number, one, setting, show_bytes, shown, switch,
};

pub(super) fn listening() -> Vec<Setting> {
    vec![
        setting!(
            listen,
            Listening,
            List,
            "ADDRESS",
            "Where to listen, for HTTP and WebSocket alike; repeat it for more. Port 0 lets the system choose.",
            "IP:PORT, [IPv6]:PORT, PORT (on 127.0.0.1) or unix:PATH",
            |texts| list(texts).and_then(|all| if all.is_empty() { Err(()) } else { Ok(all) }),
            |value| each(value)
        ),
        setting!(
            backlog,
            Listening,
            Number,
            "COUNT",
            "Connections the kernel keeps waiting for each listener.",
            "a number from 1 to 65535",
            |texts| number(texts, 1, 65_535),
            |value| shown(value)
        ),
    ]
}

pub(super) fn access() -> Vec<Setting> {
    vec![
        setting!(
            token_file,
            Access,
            Text,
            "FILE",
            "File with the bearer token that peers outside --trusted-peers must bring.",
            "the path of a file",
            |texts| match one(texts) {
                "" => Err(()),
                path => Ok(Some(PathBuf::from(path))),
            },
            |value| value.iter().map(|path| path.display().to_string()).collect()
        ),
        setting!(
            trusted_peers,
            Access,
            List,
            "CIDR",
            "Peers that need no token, in place of the default: without 127.0.0.0/8 among them this host's own programs need it, too.",
            "networks such as 127.0.0.0/8 or 192.168.1.0/24",
            |texts| texts.iter().map(|text| network(text.trim())).collect::<Result<Vec<_>, ()>>(),
            |value| each(value)
        ),
        setting!(
            host_names, Access, List, "NAME",
            "Names that a Host header may carry besides localhost and addresses.",
            "host names without a port",
            |texts| list::<String>(texts).and_then(|names| {
                let plain = |name: &String| !name.is_empty() && !name.contains(['/', ':', ' ']);
                if names.iter().all(plain) { Ok(names) } else { Err(()) }
            }),
            |value| each(value),
            alias "host-name"
        ),
        setting!(
            insecure,
            Access,
            Switch,
            "BOOL",
            "Listen beyond this host without a token: anyone who reaches the port can send events and commands.",
            "true or false",
            |texts| switch(texts),
            |value| shown(value)
        ),
        setting!(
            lenient_agents,
            Access,
            List,
            "PREFIX",
            "Clients, by the beginning of their User-Agent, that take any 4xx for an outage and never get one for content.",
            "beginnings of a User-Agent",
            |texts| list::<String>(texts),
            |value| each(value)
        ),
    ]
}

pub(super) fn limits() -> Vec<Setting> {
    vec![
        setting!(
            max_connections,
            Limits,
            Number,
            "COUNT",
            "Open connections; past them new ones wait in the kernel.",
            "a number from 1 to 200000",
            |texts| number(texts, 1, 200_000),
            |value| shown(value)
        ),
        setting!(
            max_body_bytes,
            Limits,
            Text,
            "BYTES",
            "Bytes of an HTTP body. What the mod sends past it is cut and told of; others get 413.",
            "a size from 64KiB to 256MiB",
            |texts| bytes(texts, 64 << 10, 256 << 20).map(|size| size as usize),
            |value| shown(show_bytes(*value as u64))
        ),
        setting!(
            max_message_bytes,
            Limits,
            Text,
            "BYTES",
            "Bytes of a WebSocket message.",
            "a size from 1KiB to 256MiB",
            |texts| bytes(texts, 1 << 10, 256 << 20).map(|size| size as usize),
            |value| shown(show_bytes(*value as u64))
        ),
        setting!(
            max_frame_bytes,
            Limits,
            Text,
            "BYTES",
            "Bytes of one frame of a WebSocket message.",
            "a size from 1KiB to 256MiB",
            |texts| bytes(texts, 1 << 10, 256 << 20).map(|size| size as usize),
            |value| shown(show_bytes(*value as u64))
        ),
        setting!(
            max_buffer_bytes,
            Limits,
            Text,
            "BYTES",
            "Bytes that all connections together hold of requests and messages that are not complete; one body of a lenient agent may go beyond.",
            "a size from 1MiB to 64GiB",
            |texts| bytes(texts, 1 << 20, 64 << 30).map(|size| size as usize),
            |value| shown(show_bytes(*value as u64))
        ),
        setting!(
            max_span_bytes,
            Limits,
            Text,
            "BYTES",
            "Bytes of lists (decks, hands, jokers) that are remembered so that those that come again are copied; 0 remembers none.",
            "a size from 0 to 4GiB",
            |texts| bytes(texts, 0, jimbot_core::limits::SPAN_BYTES_MAX as u64)
                .map(|size| size as usize),
            |value| shown(show_bytes(*value as u64))
        ),
        setting!(
            max_messages_per_second,
            Limits,
            Number,
            "COUNT",
            "WebSocket frames a second and connection; 0 is no limit.",
            "a number from 0 to 100000000",
            |texts| number(texts, 0, 100_000_000),
            |value| shown(value)
        ),
    ]
}

pub(super) fn times() -> Vec<Setting> {
    vec![
        setting!(
            head_timeout_ms,
            Times,
            Number,
            "MS",
            "From a request's first byte to the end of its head.",
            "a number from 100 to 600000, in milliseconds",
            |texts| number(texts, 100, 600_000),
            |value| shown(value)
        ),
        setting!(
            body_timeout_ms,
            Times,
            Number,
            "MS",
            "The longest a body may take.",
            "a number from 100 to 3600000, in milliseconds",
            |texts| number(texts, 100, 3_600_000),
            |value| shown(value)
        ),
        setting!(
            body_bytes_per_second,
            Times,
            Number,
            "BYTES",
            "The slowest a body may come, after a head start of 10 s.",
            "a number from 0 to 1000000000, in bytes a second",
            |texts| number(texts, 0, 1_000_000_000),
            |value| shown(value)
        ),
        setting!(
            write_timeout_ms,
            Times,
            Number,
            "MS",
            "How long a peer may leave answers unread before it is closed.",
            "a number from 100 to 600000, in milliseconds",
            |texts| number(texts, 100, 600_000),
            |value| shown(value)
        ),
        setting!(
            idle_timeout_seconds,
            Times,
            Number,
            "SECONDS",
            "How long a kept-alive connection may be idle.",
            "a number from 1 to 86400, in seconds",
            |texts| number(texts, 1, 86_400),
            |value| shown(value)
        ),
        setting!(
            ping_seconds,
            Times,
            Number,
            "SECONDS",
            "How often a quiet WebSocket is pinged.",
            "a number from 1 to 3600, in seconds",
            |texts| number(texts, 1, 3_600),
            |value| shown(value)
        ),
        setting!(
            silence_seconds,
            Times,
            Number,
            "SECONDS",
            "Silence, pongs included, after which a WebSocket is closed.",
            "a number from 2 to 7200, in seconds",
            |texts| number(texts, 2, 7_200),
            |value| shown(value)
        ),
        setting!(
            command_age_seconds,
            Times,
            Number,
            "SECONDS",
            "How long a command waits for its game before it expires.",
            "a number from 1 to 3600, in seconds",
            |texts| number(texts, 1, 3_600),
            |value| shown(value)
        ),
        setting!(
            drain_seconds,
            Times,
            Number,
            "SECONDS",
            "How long a shutdown may take to finish what was received.",
            "a number from 3 to 600, in seconds",
            |texts| number(texts, 3, 600),
            |value| shown(value)
        ),
    ]
}

/// A network, or one address as a network of its own.
fn network(text: &str) -> Result<IpNet, ()> {
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| ())
}
