//! What a setting is.

use super::ServeConfig;
use super::settings::ENVIRONMENT_PREFIX;

/// Under which heading a setting is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Where the service listens.
    Listening,
    /// Who may come in.
    Access,
    /// The shared-memory log.
    Log,
    /// When events become visible.
    Batching,
    /// The hot thread.
    Thread,
    /// What one peer may use.
    Limits,
    /// What may wait, and for how long.
    Times,
    /// The Event Bus.
    Bus,
    /// What the service says.
    Messages,
}

impl Group {
    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Listening => "Listening",
            Group::Access => "Who may come in",
            Group::Log => "The log in shared memory",
            Group::Batching => "Batches",
            Group::Thread => "The hot thread",
            Group::Limits => "Limits",
            Group::Times => "Times",
            Group::Bus => "Event Bus",
            Group::Messages => "Messages",
        }
    }
}

/// The TOML type of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string; numbers are taken too.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`; a flag without a value is `true`.
    Switch,
    /// An array of strings; one comma-separated string elsewhere.
    List,
}

/// Reads one value, or says what is allowed.
pub(super) type Apply = fn(&mut ServeConfig, &[String]) -> Result<(), String>;
/// The value in use, as texts; none when unset.
pub(super) type Show = fn(&ServeConfig) -> Vec<String>;

/// One setting, with all its names.
pub struct Setting {
    /// Its name in the file: `window_ms`. Flag and variable are made from it.
    pub name: &'static str,
    /// The heading it belongs to.
    pub group: Group,
    /// The TOML type.
    pub kind: Kind,
    /// What stands for the value in help: `MS`.
    pub value_name: &'static str,
    /// What it does, in a sentence or two.
    pub help: &'static str,
    /// What may stand there, as an error says it.
    pub allowed: &'static str,
    /// A second name for the flag.
    pub alias: Option<&'static str>,
    pub(super) apply: Apply,
    pub(super) show: Show,
}

impl Setting {
    /// Its flag, without the dashes: `window-ms`.
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Its environment variable: `JIMBOT_MCP_WINDOW_MS`.
    pub fn variable(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.to_uppercase())
    }

    /// The value in use, as it would be written in the file; `None` when unset.
    pub fn toml(&self, config: &ServeConfig) -> Option<toml::Value> {
        let texts = (self.show)(config);
        match self.kind {
            Kind::List => {
                Some(toml::Value::Array(texts.into_iter().map(toml::Value::String).collect()))
            }
            _ => {
                let text = texts.into_iter().next()?;
                Some(match self.kind {
                    Kind::Number => {
                        text.parse().map_or(toml::Value::String(text), toml::Value::Integer)
                    }
                    Kind::Switch => toml::Value::Boolean(text == "true"),
                    _ => toml::Value::String(text),
                })
            }
        }
    }
}
