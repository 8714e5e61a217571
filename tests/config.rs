//! Settings: where they come from, which wins, and what is said about wrong ones.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jimbot_mcp::config::{
    self, CommitMode, ConfigError, Kind, ListenAddress, ServeConfig, Source, Surroundings, load,
};

fn surroundings(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&str, &[&str])],
) -> Surroundings {
    let own = |text: &&str| (*text).to_owned();
    Surroundings {
        file: (!file.is_empty()).then(|| (PathBuf::from("test.toml"), file.to_owned())),
        environment: environment.iter().map(|(name, value)| (own(name), own(value))).collect(),
        flags: flags
            .iter()
            .map(|(name, values)| (own(name), values.iter().map(own).collect()))
            .collect(),
    }
}

fn error(file: &str, environment: &[(&str, &str)], flags: &[(&str, &[&str])]) -> String {
    load(&surroundings(file, environment, flags)).expect_err("it must be refused").to_string()
}

#[test]
fn nothing_set_is_the_default() {
    let loaded = load(&Surroundings::default()).unwrap();
    assert_eq!(loaded.config, ServeConfig::default());
    assert!(loaded.sources.is_empty() && loaded.notes.is_empty());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "window_ms = 30\nmax_connections = 30\nbacklog = 30\nlisten = [\"127.0.0.1:30\"]";
    let environment = [
        ("JIMBOT_MCP_WINDOW_MS", "40"),
        ("JIMBOT_MCP_MAX_CONNECTIONS", "40"),
        ("JIMBOT_MCP_LISTEN", "127.0.0.1:40,[::1]:40"),
        ("HOME", "/nowhere"),
    ];
    let flags: [(&str, &[&str]); 1] = [("window_ms", &["50"])];
    let loaded = load(&surroundings(file, &environment, &flags)).unwrap();
    let config = &loaded.config;
    assert_eq!((config.window_ms, config.max_connections, config.backlog), (50, 40, 30));
    let listen: Vec<String> = config.listen.iter().map(ListenAddress::to_string).collect();
    assert_eq!(listen, ["127.0.0.1:40", "[::1]:40"]);
    assert_eq!(loaded.sources["window_ms"], Source::Flag("window-ms".to_owned()));
    assert_eq!(loaded.sources["listen"], Source::Environment("JIMBOT_MCP_LISTEN".to_owned()));
    assert_eq!(loaded.sources["backlog"], Source::File("test.toml".into()));
}

#[test]
fn what_print_config_prints_gives_the_same_settings_again() {
    let flags: [(&str, &[&str]); 6] = [
        ("listen", &["127.0.0.1:0", "unix:/tmp/a \"b\".sock"]),
        ("mode", &["window"]),
        ("max_body_bytes", &["100000"]),
        ("cpu", &["1"]),
        ("log_bytes", &["64MiB"]),
        ("bus", &["http://bus.example:7000"]),
    ];
    let loaded = load(&surroundings("", &[], &flags)).unwrap();
    let text = config::print(&loaded);
    assert!(text.contains("window_ms = 100 "), "{text}");
    assert!(text.lines().any(|line| line.starts_with("mode = ") && line.ends_with("# --mode")));
    let again = load(&surroundings(&text, &[], &[])).unwrap();
    assert_eq!(again.config, loaded.config);
    assert_eq!(again.config.mode, CommitMode::Window);
}

#[test]
fn every_setting_is_read_back_from_what_it_shows_and_refuses_nonsense() {
    let defaults = ServeConfig::default();
    for setting in config::settings() {
        if let Some(value) = setting.toml(&defaults) {
            let file = format!("{} = {value}", setting.name);
            let loaded = load(&surroundings(&file, &[], &[]))
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(loaded.config, defaults, "{file}");
        }
        // Names of files, agents and hosts are free text; an array is wrong for all that is no list.
        let wrong = if setting.kind == Kind::List { "3" } else { "[\"\\u0001\"]" };
        let file = format!("{} = {wrong}", setting.name);
        let Err(ConfigError::Value { setting: named, allowed, .. }) =
            load(&surroundings(&file, &[], &[]))
        else {
            panic!("{file} must be refused");
        };
        assert_eq!(named, setting.name);
        assert!(!allowed.is_empty());
    }
}

#[test]
fn a_wrong_value_is_named_with_its_origin_and_what_is_allowed() {
    assert_eq!(
        error("", &[("JIMBOT_MCP_WINDOW_MS", "5")], &[]),
        "window_ms = \"5\" (from JIMBOT_MCP_WINDOW_MS) is not possible: \
         allowed is a number from 20 to 1000, in milliseconds"
    );
    assert_eq!(
        error("mode = \"fast\"", &[], &[]),
        "mode = \"fast\" (from test.toml) is not possible: allowed is adaptive or window"
    );
    for (setting, value) in [
        ("listen", "localhost"),
        ("listen", ""),
        ("max_batch_bytes", "4MiB"),
        ("trusted_peers", "10.0.0.0/33"),
        ("host_names", "games.example:80"),
        ("cpu", "-1"),
        ("insecure", "maybe"),
        ("max_connections", "0"),
        ("bus", "nats://127.0.0.1"),
        ("log_level", "loud"),
    ] {
        let text = error("", &[], &[(setting, &[value])]);
        assert!(text.starts_with(&format!("{setting} = ")), "{text}");
        assert!(text.contains("allowed is"), "{text}");
    }
}

#[test]
fn unknown_names_are_answered_with_the_nearest_known_one() {
    let text = error("windowms = 5", &[], &[]);
    assert_eq!(text, "\"windowms\" (in test.toml) is not a setting; did you mean \"window_ms\"?");
    let text = error("potatoes_of_the_day = 5", &[], &[]);
    assert!(text.contains("--print-config"), "{text}");
    // The file with settings, and the token of clients, are none.
    let others = [("JIMBOT_MCP_CONFIG", "x"), ("JIMBOT_MCP_TOKEN", "x"), ("JIMBOT_MCP_LISTN", "1")];
    let loaded = load(&surroundings("", &others, &[]));
    assert_eq!(loaded.unwrap().notes.len(), 1, "a variable that means nothing is told, not fatal");
}

#[test]
fn a_file_that_is_not_toml_is_told_with_the_place() {
    let text = error("window_ms = \n", &[], &[]);
    assert!(text.contains("test.toml") && text.contains("line 1"), "{text}");
}

#[test]
fn settings_that_do_not_fit_together_are_refused_with_a_remedy() {
    let open = error("", &[], &[("listen", &["0.0.0.0:8080"])]);
    assert!(open.contains("--token-file") && open.contains("--insecure"), "{open}");
    let flags: [(&str, &[&str]); 2] =
        [("listen", &["0.0.0.0:8080"]), ("token_file", &["/etc/jimbot/token"])];
    assert!(load(&surroundings("", &[], &flags)).is_ok());
    let small = error("log_bytes = \"2MiB\"", &[], &[]);
    assert!(small.contains("max_batch_bytes") && small.contains("make it "), "{small}");
    let silence = error("silence_seconds = 20", &[], &[]);
    assert!(silence.contains("ping_seconds"), "{silence}");
}

#[test]
fn names_of_settings_are_unique_and_spelled_the_same_everywhere() {
    let mut names = BTreeMap::new();
    for setting in config::settings() {
        assert!(names.insert(setting.name, ()).is_none(), "{} twice", setting.name);
        assert_eq!(setting.flag().replace('-', "_"), setting.name);
        assert_eq!(setting.variable(), format!("JIMBOT_MCP_{}", setting.name.to_uppercase()));
        assert!(setting.help.ends_with('.'), "{}: {:?}", setting.name, setting.help);
    }
}

/// The tables of `docs/configuration.md`, as the code has them.
fn documented() -> String {
    let defaults = ServeConfig::default();
    let (mut text, mut group) = (String::new(), None);
    for setting in config::settings() {
        if group != Some(setting.group) {
            group = Some(setting.group);
            text += &format!("\n### {}\n\n", setting.group.title());
            text += "| setting | default | allowed | what it does |\n|---|---|---|---|\n";
        }
        let default = setting.toml(&defaults).map_or("not set".to_owned(), |it| format!("`{it}`"));
        text += &format!(
            "| `{}` | {default} | {} | {} |\n",
            setting.name, setting.allowed, setting.help
        );
    }
    text
}

#[test]
fn the_document_lists_the_settings_that_the_code_has() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let document = std::fs::read_to_string(path).unwrap();
    let expected = documented();
    assert!(document.contains(expected.trim()), "{path} must hold these tables:\n{expected}");
}
