//! Settings of the log and of batches.

use std::path::PathBuf;

use super::{Group, Kind, Setting, bytes, named, number, one, setting, show_bytes, shown, switch};

pub(super) fn log() -> Vec<Setting> {
    vec![
        setting!(
            shm_dir,
            Log,
            Text,
            "DIR",
            "Directory of the shared-memory log; it must be ours alone.",
            "the path of a directory",
            |texts| if one(texts).is_empty() { Err(()) } else { Ok(PathBuf::from(one(texts))) },
            |value| shown(value.display())
        ),
        setting!(
            log_bytes,
            Log,
            Text,
            "BYTES",
            "Size of the log. It is memory: `auto` takes 256MiB, at most a quarter of what the directory has free.",
            "auto, or a size from 1MiB to 1024GiB",
            |texts| match one(texts) {
                "auto" => Ok(None),
                _ => bytes(texts, 1 << 20, 1 << 40).map(Some),
            },
            |value| shown(value.map_or("auto".to_owned(), show_bytes)),
            alias "log-size"
        ),
        setting!(
            rotate_log,
            Log,
            Switch,
            "BOOL",
            "When the log has another size or version and unread events: seal it and begin a new one, which its readers follow to.",
            "true or false",
            |texts| switch(texts),
            |value| shown(value)
        ),
        setting!(
            reader_lease_seconds, Log, Number, "SECONDS",
            "How long a reliable reader that died keeps its unread events.",
            "a number from 0 to 86400, in seconds",
            |texts| number(texts, 0, 86_400),
            |value| shown(value),
            alias "reader-lease"
        ),
        setting!(
            full_policy,
            Log,
            Text,
            "POLICY",
            "What happens when a living reliable reader fills the log: `hold` holds the games, `detach` the reader.",
            "hold or detach",
            |texts| named(texts),
            |value| shown(value)
        ),
    ]
}

pub(super) fn batching() -> Vec<Setting> {
    vec![
        setting!(
            mode,
            Batching,
            Text,
            "MODE",
            "`adaptive` shows a lone event at once, `window` fills batches for --window-ms.",
            "adaptive or window",
            |texts| named(texts),
            |value| shown(value)
        ),
        setting!(
            window_ms,
            Batching,
            Number,
            "MS",
            "The longest an event may wait until readers see it.",
            "a number from 20 to 1000, in milliseconds",
            |texts| number(texts, jimbot_core::limits::WINDOW_NS_MIN / 1_000_000, 1_000),
            |value| shown(value)
        ),
        setting!(
            max_batch_events,
            Batching,
            Number,
            "COUNT",
            "Events in one batch.",
            "a number from 1 to 16384",
            |texts| number(texts, 1, jimbot_core::limits::BATCH_EVENTS_MAX),
            |value| shown(value)
        ),
        setting!(
            max_batch_bytes,
            Batching,
            Text,
            "BYTES",
            "Bytes of events in one batch; no event can be larger.",
            "a size from 128KiB to 3MiB",
            |texts| {
                let (least, most) =
                    (jimbot_core::limits::BATCH_BYTES_MIN, jimbot_core::limits::BATCH_BYTES_MAX);
                bytes(texts, u64::from(least), u64::from(most)).map(|size| size as u32)
            },
            |value| shown(show_bytes(u64::from(*value)))
        ),
    ]
}
