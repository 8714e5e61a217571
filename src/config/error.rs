//! What is wrong with a setting, where it was set and what is allowed.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from. Later ones win over earlier ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// A TOML file.
    File(PathBuf),
    /// An environment variable, by name.
    Environment(String),
    /// A flag, by name.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Environment(name) => f.write_str(name),
            Source::Flag(name) => write!(f, "--{name}"),
        }
    }
}

/// Why the configuration can't be used. Its text names the setting, the value and what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A value that its setting does not take.
    Value {
        /// The setting's name in the file.
        setting: &'static str,
        /// The value as given.
        value: String,
        /// Who gave it.
        source: Source,
        /// What may stand there.
        allowed: String,
    },
    /// A name that is no setting.
    Unknown {
        /// The name as given.
        name: String,
        /// Who gave it.
        source: Source,
        /// The nearest setting, when one is near.
        meant: Option<&'static str>,
    },
    /// A file that can't be read or is not TOML.
    File {
        /// Which one.
        path: PathBuf,
        /// Why, with line and column where they are known.
        reason: String,
    },
    /// Settings that are fine alone and not together.
    Together {
        /// What does not fit.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Value { setting, value, source, allowed } => {
                write!(
                    f,
                    "{setting} = {value:?} (from {source}) is not possible: allowed is {allowed}"
                )
            }
            ConfigError::Unknown { name, source, meant } => {
                write!(f, "{name:?} (in {source}) is not a setting")?;
                match meant {
                    Some(meant) => write!(f, "; did you mean {meant:?}?"),
                    None => f.write_str("; `jimbot-mcp serve --print-config` lists all of them"),
                }
            }
            ConfigError::File { path, reason } => {
                write!(f, "configuration file {}: {}", path.display(), reason.trim_end())
            }
            ConfigError::Together { problem, remedy } => write!(f, "{problem}; {remedy}"),
        }
    }
}

impl std::error::Error for ConfigError {}
