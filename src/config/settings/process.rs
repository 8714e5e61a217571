//! Settings of threads, the bus and messages.

use std::path::PathBuf;

use super::{Group, Kind, Setting, named, number, one, setting, shown, switch};

pub(super) fn thread() -> Vec<Setting> {
    vec![
        setting!(
            cpu,
            Thread,
            Number,
            "N",
            "Pin the hot thread to this CPU; the other threads stay off it.",
            "the number of a CPU, counted from 0",
            |texts| match one(texts) {
                "none" => Ok(None),
                _ => number(texts, 0, 4_095).map(Some),
            },
            |value| value.iter().map(usize::to_string).collect()
        ),
        setting!(
            busy_poll,
            Thread,
            Switch,
            "BOOL",
            "Never sleep: half the latency for one whole CPU.",
            "true or false",
            |texts| switch(texts),
            |value| shown(value)
        ),
    ]
}

pub(super) fn bus() -> Vec<Setting> {
    vec![
        setting!(
            bus,
            Bus,
            Text,
            "BUS",
            "Publish every batch: `embedded` runs an Event Bus in this process, a URL names another's.",
            "none, embedded, or a URL that begins with http:// or https://",
            |texts| named(texts),
            |value| shown(value)
        ),
        setting!(
            bus_token_file,
            Bus,
            Text,
            "FILE",
            "File with the bus's bearer token: sent to the bus of a URL, asked of clients by an embedded one.",
            "the path of a file",
            |texts| match one(texts) {
                "" => Err(()),
                path => Ok(Some(PathBuf::from(path))),
            },
            |value| value.iter().map(|path| path.display().to_string()).collect()
        ),
    ]
}

pub(super) fn messages() -> Vec<Setting> {
    vec![
        setting!(
            log_level,
            Messages,
            Text,
            "LEVEL",
            "Least severe messages that are written.",
            "off, error, warn, info, debug or trace",
            |texts| named(texts),
            |value| shown(value.as_str().to_lowercase())
        ),
        setting!(
            log_format,
            Messages,
            Text,
            "FORMAT",
            "How messages look: `text` for people, `json` for machines.",
            "text or json",
            |texts| named(texts),
            |value| shown(value)
        ),
    ]
}
