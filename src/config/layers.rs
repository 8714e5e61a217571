//! Where values come from, and which of them wins: defaults, file, environment, flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ServeConfig;
use super::check::check;
use super::error::{ConfigError, Source};
use super::setting::{Kind, Setting};
use super::settings::{ENVIRONMENT_PREFIX, all};

/// Names with the prefix that are no settings: the file with these, and the token that clients send.
const OTHER_VARIABLES: [&str; 2] = ["CONFIG", "TOKEN"];

/// What is given to [`load`] from outside, so that it reads neither environment nor disk itself.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The configuration file and its text.
    pub file: Option<(PathBuf, String)>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Flags by setting name, with their values as given.
    pub flags: BTreeMap<String, Vec<String>>,
}

/// The settings in use, and who set each.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: ServeConfig,
    /// Who set what; settings that are not in it have their default.
    pub sources: BTreeMap<&'static str, Source>,
    /// Things to tell that are no errors, such as variables that mean nothing.
    pub notes: Vec<String>,
}

/// Puts all layers together and checks the result.
pub fn load(surroundings: &Surroundings) -> Result<Loaded, ConfigError> {
    let mut loaded =
        Loaded { config: ServeConfig::default(), sources: BTreeMap::new(), notes: Vec::new() };
    if let Some((path, text)) = &surroundings.file {
        read_file(&mut loaded, path, text)?;
    }
    read_environment(&mut loaded, &surroundings.environment)?;
    for (name, texts) in &surroundings.flags {
        let setting = find(name).ok_or_else(|| unknown(name, Source::Flag(name.clone())))?;
        let source = Source::Flag(setting.flag());
        apply(&mut loaded, setting, split_lists(setting, texts), source)?;
    }
    check(&loaded.config)?;
    Ok(loaded)
}

/// Files that are read when none is named, the first that exists.
pub fn default_files(environment: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let own = environment
        .get("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| environment.get("HOME").map(|home| Path::new(home).join(".config")));
    own.into_iter()
        .chain([PathBuf::from("/etc")])
        .map(|directory| directory.join("jimbot-mcp/config.toml"))
        .collect()
}

fn find(name: &str) -> Option<&'static Setting> {
    all().iter().find(|setting| setting.name == name)
}

fn apply(
    loaded: &mut Loaded,
    setting: &'static Setting,
    texts: Vec<String>,
    source: Source,
) -> Result<(), ConfigError> {
    (setting.apply)(&mut loaded.config, &texts).map_err(|allowed| ConfigError::Value {
        setting: setting.name,
        value: texts.join(","),
        source: source.clone(),
        allowed,
    })?;
    loaded.sources.insert(setting.name, source);
    Ok(())
}

/// `a,b` and `a` `b` mean the same list; an empty text is the empty list.
fn split_lists(setting: &Setting, texts: &[String]) -> Vec<String> {
    match setting.kind {
        Kind::List => texts
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect(),
        _ => texts.to_vec(),
    }
}

fn read_file(loaded: &mut Loaded, path: &Path, text: &str) -> Result<(), ConfigError> {
    let source = Source::File(path.to_owned());
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    for (name, value) in table {
        let setting = find(&name).ok_or_else(|| unknown(&name, source.clone()))?;
        let texts = texts_of(setting, &value).ok_or_else(|| ConfigError::Value {
            setting: setting.name,
            value: value.to_string(),
            source: source.clone(),
            allowed: match setting.kind {
                Kind::List => format!("an array of strings: {}", setting.allowed),
                _ => setting.allowed.to_owned(),
            },
        })?;
        apply(loaded, setting, texts, source.clone())?;
    }
    Ok(())
}

/// The texts of a TOML value of the setting's kind.
fn texts_of(setting: &Setting, value: &toml::Value) -> Option<Vec<String>> {
    use toml::Value;
    match (setting.kind, value) {
        (Kind::List, Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        }
        (Kind::List, Value::String(text)) => Some(vec![text.clone()]),
        (Kind::Switch, Value::Boolean(flag)) => Some(vec![flag.to_string()]),
        (Kind::Text, Value::String(text)) => Some(vec![text.clone()]),
        (Kind::Text | Kind::Number, Value::Integer(number)) => Some(vec![number.to_string()]),
        _ => None,
    }
}

fn read_environment(
    loaded: &mut Loaded,
    environment: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for (variable, text) in environment {
        let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
        if OTHER_VARIABLES.contains(&name) {
            continue;
        }
        match find(&name.to_lowercase()) {
            Some(setting) => {
                let texts = split_lists(setting, std::slice::from_ref(text));
                apply(loaded, setting, texts, Source::Environment(variable.clone()))?;
            }
            // Other tools may use the prefix, so this is no error.
            None => loaded
                .notes
                .push(unknown(name, Source::Environment("the environment".to_owned())).to_string()),
        }
    }
    Ok(())
}

fn unknown(name: &str, source: Source) -> ConfigError {
    let spelled = name.to_lowercase().replace('-', "_");
    let meant = all()
        .iter()
        .map(|setting| (distance(&spelled, setting.name), setting.name))
        .min()
        .filter(|(distance, name)| *distance <= 3.max(name.len() / 4))
        .map(|(_, name)| name);
    ConfigError::Unknown { name: name.to_owned(), source, meant }
}

/// Edits (insert, remove, replace) from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (at, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}
