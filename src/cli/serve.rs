//! `jimbot-mcp serve`: flags from the table of settings, and everything that sets one up.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use crate::config::{self, ConfigError, Kind, Loaded, Surroundings};

/// What was typed after `serve`.
#[derive(Clone, Debug, Default)]
pub(super) struct Serve {
    file: Option<PathBuf>,
    print_config: bool,
    flags: BTreeMap<String, Vec<String>>,
}

const EXAMPLES: &str = "\
Every setting can stand in a TOML file (window_ms = 50), in the environment
(JIMBOT_MCP_WINDOW_MS=50) and on the command line (--window-ms 50); the later one wins. Without
--config, ~/.config/jimbot-mcp/config.toml or else /etc/jimbot-mcp/config.toml is read.

Examples:
  jimbot-mcp serve
  jimbot-mcp serve --cpu 3 --busy-poll             lowest latency, for one CPU
  jimbot-mcp serve --listen 0.0.0.0:8080 --token-file token.txt
  jimbot-mcp serve --listen unix:/run/user/1000/jimbot.sock
  jimbot-mcp serve --print-config > config.toml    all settings, with who set them";

impl Args for Serve {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = command
            .about("Take in events from games and show them to readers")
            .after_help(EXAMPLES)
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .env("JIMBOT_MCP_CONFIG")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("Read settings from this TOML file"),
            )
            .arg(
                Arg::new("print_config")
                    .long("print-config")
                    .action(ArgAction::SetTrue)
                    .help("Print the settings in use, with who set each, and exit"),
            );
        let defaults = config::ServeConfig::default();
        config::settings().iter().fold(command, |command, setting| {
            let default = match setting.toml(&defaults) {
                Some(value) => format!(" [default: {value}]"),
                None => String::new(),
            };
            let arg = Arg::new(setting.name)
                .long(setting.flag())
                .value_name(setting.value_name)
                .help(format!("{}{default}", setting.help))
                .help_heading(setting.group.title())
                .action(if setting.kind == Kind::List { ArgAction::Append } else { ArgAction::Set })
                .allow_hyphen_values(true);
            let arg = match setting.alias {
                Some(alias) => arg.visible_alias(alias),
                None => arg,
            };
            command.arg(if setting.kind == Kind::Switch {
                arg.num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg
            })
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Serve::augment_args(command)
    }
}

impl FromArgMatches for Serve {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Serve, clap::Error> {
        let mut serve = Serve::default();
        serve.update_from_arg_matches(matches)?;
        Ok(serve)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>("config").cloned();
        self.print_config = matches.get_flag("print_config");
        for setting in config::settings() {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                self.flags.insert(setting.name.to_owned(), values.cloned().collect());
            }
        }
        Ok(())
    }
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        let print_config = self.print_config;
        let loaded = match self.load() {
            Ok(loaded) => loaded,
            Err(error) => return super::fail(error, 2),
        };
        for note in &loaded.notes {
            eprintln!("jimbot-mcp: {note}");
        }
        if print_config {
            return super::answer(config::print(&loaded).as_bytes());
        }
        match crate::serve::run(&loaded.config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => super::fail(error, 1),
        }
    }

    fn load(self) -> Result<Loaded, ConfigError> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = match self.file {
            Some(path) => Some((path.clone(), read(&path)?.ok_or_else(|| missing(&path))?)),
            None => first_of(config::default_files(&environment))?,
        };
        config::load(&Surroundings { file, environment, flags: self.flags })
    }
}

fn first_of(paths: Vec<PathBuf>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    for path in paths {
        if let Some(text) = read(&path)? {
            return Ok(Some((path, text)));
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigError::File { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn missing(path: &Path) -> ConfigError {
    ConfigError::File { path: path.to_owned(), reason: "there is no such file".to_owned() }
}
