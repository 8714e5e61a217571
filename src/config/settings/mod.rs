//! The table of settings, a file for each kind of concern.

mod events;
mod network;
mod process;

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::LazyLock;

use jimbot_core::limits;

use super::setting::{Group, Kind, Setting};
use super::value::{parse_bytes, show_bytes};
use super::{Bus, CommitMode, FullPolicy, LogFormat, ServeConfig};

/// What the names of all environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "JIMBOT_MCP_";

/// The directory of the log when nobody names one.
const SHM_DIR: &str = "/dev/shm/jimbot-mcp";

/// Every setting, in the order in which they are shown.
pub fn all() -> &'static [Setting] {
    static ALL: LazyLock<Vec<Setting>> = LazyLock::new(|| {
        let mut all = network::listening();
        all.extend(network::access());
        all.extend(events::log());
        all.extend(events::batching());
        all.extend(process::thread());
        all.extend(network::limits());
        all.extend(network::times());
        all.extend(process::bus());
        all.extend(process::messages());
        all
    });
    &ALL
}

/// The log's directory for a subcommand that only reads: what was given, or the default.
pub fn shm_dir_from(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| SHM_DIR.into())
}

pub(super) fn defaults() -> ServeConfig {
    let loopback = |text: &str| text.parse().expect("a default that parses");
    let seconds = |ns: u64| ns / 1_000_000_000;
    let milliseconds = |ns: u64| ns / 1_000_000;
    ServeConfig {
        listen: ["127.0.0.1:8080", "127.0.0.1:8765"]
            .map(|at| at.parse().expect("an address"))
            .into(),
        backlog: 1024,
        token_file: None,
        trusted_peers: vec![loopback("127.0.0.0/8"), loopback("::1/128")],
        host_names: Vec::new(),
        insecure: false,
        lenient_agents: vec!["BalatroMCP/".to_owned()],
        shm_dir: SHM_DIR.into(),
        log_bytes: None,
        rotate_log: false,
        reader_lease_seconds: 30,
        full_policy: FullPolicy::Hold,
        mode: CommitMode::Adaptive,
        window_ms: milliseconds(limits::WINDOW_NS),
        max_batch_events: limits::BATCH_EVENTS,
        max_batch_bytes: limits::BATCH_BYTES,
        cpu: None,
        busy_poll: false,
        max_connections: limits::CONNECTIONS,
        max_body_bytes: limits::BODY_BYTES,
        max_message_bytes: limits::MESSAGE_BYTES,
        max_frame_bytes: limits::MESSAGE_BYTES,
        max_buffer_bytes: limits::BUFFER_BYTES,
        max_span_bytes: limits::SPAN_BYTES,
        max_messages_per_second: limits::FRAMES_PER_SECOND as u32,
        head_timeout_ms: milliseconds(limits::HEAD_NS),
        body_timeout_ms: milliseconds(limits::BODY_NS),
        body_bytes_per_second: limits::BODY_BYTES_PER_SECOND,
        write_timeout_ms: milliseconds(limits::OUTPUT_STALL_NS),
        idle_timeout_seconds: seconds(limits::IDLE_NS),
        ping_seconds: seconds(limits::PING_AFTER_NS),
        silence_seconds: seconds(limits::PING_AFTER_NS + limits::PONG_WITHIN_NS),
        command_age_seconds: seconds(limits::COMMAND_AGE_NS),
        drain_seconds: seconds(limits::DRAIN_NS),
        bus: Bus::None,
        bus_token_file: None,
        log_level: log::LevelFilter::Info,
        log_format: LogFormat::Text,
    }
}

/// The one text of a setting that is no list.
fn one(texts: &[String]) -> &str {
    texts.first().map_or("", String::as_str)
}

/// A number within bounds.
fn number<T: FromStr + PartialOrd + Copy>(texts: &[String], least: T, most: T) -> Result<T, ()> {
    let number: T = one(texts).parse().map_err(|_| ())?;
    if number >= least && number <= most { Ok(number) } else { Err(()) }
}

/// A size within bounds.
fn bytes(texts: &[String], least: u64, most: u64) -> Result<u64, ()> {
    parse_bytes(one(texts)).filter(|bytes| (least..=most).contains(bytes)).ok_or(())
}

/// A switch.
fn switch(texts: &[String]) -> Result<bool, ()> {
    match one(texts) {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(()),
    }
}

/// A choice or an address: anything with a text form.
fn named<T: FromStr>(texts: &[String]) -> Result<T, ()> {
    one(texts).parse().map_err(|_| ())
}

/// A list of such.
fn list<T: FromStr>(texts: &[String]) -> Result<Vec<T>, ()> {
    texts.iter().map(|text| text.trim().parse().map_err(|_| ())).collect()
}

/// Writes one entry of the table.
///
/// The field of [`ServeConfig`] has the setting's name; `$read` makes its value from the texts
/// given, or fails, and then `$allowed` is what the error says.
macro_rules! setting {
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
    ($name:ident, $group:ident, $kind:ident, $value_name:literal, $help:literal, $allowed:literal,
     |$texts:ident| $read:expr, |$shown:ident| $show:expr $(, alias $alias:literal)?) => {
        Setting {
            name: stringify!($name),
            group: Group::$group,
            kind: Kind::$kind,
            value_name: $value_name,
            help: $help,
            allowed: $allowed,
            alias: setting!(@alias $($alias)?),
            apply: |config, $texts| {
                config.$name = { $read }.map_err(|()| $allowed.to_owned())?;
                Ok(())
            },
            show: |config| {
                let $shown = &config.$name;
                $show
            },
        }
    };
}
use setting;

/// One text, for `show`.
fn shown(value: impl ToString) -> Vec<String> {
    vec![value.to_string()]
}

/// The texts of a list, for `show`.
fn each<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}
