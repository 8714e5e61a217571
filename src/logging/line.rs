//! One log line and the two ways to write it.

use std::time::SystemTime;

use humantime::format_rfc3339_millis;
use log::{Level, Record};
use serde_json::json;

use crate::config::LogFormat;

/// A line as it waits in the queue.
pub(super) struct Line {
    time: SystemTime,
    level: Level,
    target: String,
    message: String,
}

impl Line {
    pub(super) fn new(time: SystemTime, record: &Record<'_>) -> Line {
        Line {
            time,
            level: record.level(),
            target: record.target().to_owned(),
            message: record.args().to_string(),
        }
    }

    /// The line that tells of lines that are missing.
    pub(super) fn about_dropped(time: SystemTime, count: u64) -> Line {
        Line {
            time,
            level: Level::Warn,
            target: module_path!().to_owned(),
            message: format!(
                "{count} log lines were dropped: they came faster than they were written"
            ),
        }
    }

    /// Its text, with the line's end.
    pub(super) fn text(&self, format: LogFormat) -> String {
        let time = format_rfc3339_millis(self.time);
        match format {
            LogFormat::Text => {
                // One line is one message: what comes from outside must not look like another.
                let message = self.message.replace('\n', "\\n");
                format!("{time} {:<5} {message}\n", self.level)
            }
            LogFormat::Json => {
                let line = json!({
                    "time": time.to_string(),
                    "level": self.level.as_str().to_lowercase(),
                    "target": self.target,
                    "message": self.message,
                });
                format!("{line}\n")
            }
        }
    }
}
