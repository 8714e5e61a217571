//! The command line: help that teaches, errors that say what to do, completions.

use crate::support::{ShmDir, run, text};

#[test]
fn help_lists_every_subcommand_and_each_has_examples() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for command in ["serve", "tail", "simulate", "completions"] {
        assert!(help.contains(&format!("  {command} ")), "{command} in {help}");
        let own = run(&["help", command]);
        assert!(own.status.success());
        assert!(text(&own.stdout).contains(&format!("jimbot-mcp {command} ")), "{command}");
    }
}

#[test]
fn every_subcommand_on_a_log_takes_shm_dir() {
    for command in ["serve", "tail", "simulate"] {
        assert!(text(&run(&[command, "--help"]).stdout).contains("--shm-dir"), "{command}");
    }
}

#[test]
fn completions_come_for_every_shell_and_name_the_flags() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]);
        assert!(script.status.success(), "{shell}");
        assert!(text(&script.stdout).contains("window-ms"), "{shell}");
    }
}

#[test]
fn a_wrong_setting_ends_with_2_and_names_itself() {
    for (arguments, expected) in [
        (&["serve", "--window-ms", "5"][..], "window_ms"),
        (&["serve", "--listen", "0.0.0.0:0"], "token_file"),
        (&["serve", "--config", "/nonexistent/config.toml"], "/nonexistent/config.toml"),
        (&["serve", "--windowms", "5"], "--window-ms"),
        (&["simulate", "--triggers", "9-1"], "MIN-MAX"),
        (&["simulate", "--rate", "0"], "above 0"),
        (&["tail", "--type", "HAND_PLAID"], "HAND_PLAYED"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn print_config_reads_the_file_that_is_named() {
    let directory = ShmDir::new();
    std::fs::create_dir(directory.path()).unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, "window_ms = 40\n").unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["serve", "--config", file, "--mode", "window", "--print-config"]);
    let shown = text(&output.stdout);
    assert!(output.status.success());
    assert!(shown.lines().any(|line| line.starts_with("window_ms = 40 ") && line.ends_with(file)));
    assert!(
        shown.lines().any(|line| line.starts_with("mode = \"window\"") && line.ends_with("--mode"))
    );
}

#[test]
fn the_readmes_command_for_windows_lets_programs_of_this_host_in_as_before() {
    let readme = include_str!("../../README.md");
    let command = readme.split('`').find(|code| code.starts_with("jimbot-mcp serve --listen 0."));
    let command = command.expect("it is there").replace("ADDRESS-OF-WINDOWS", "172.20.0.1");
    let mut words: Vec<&str> = command.split(' ').skip(1).collect();
    words.push("--print-config");
    let output = run(&words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    for expected in [
        "listen = [\"0.0.0.0:8080\", \"127.0.0.1:8765\"] ",
        "trusted_peers = [\"127.0.0.0/8\", \"172.20.0.1/32\"] ",
        "token_file = \"FILE\" ",
    ] {
        assert!(shown.lines().any(|line| line.starts_with(expected)), "{expected}: {shown}");
    }
}

#[test]
fn nothing_to_read_or_to_send_to_is_answered_with_a_remedy() {
    let directory = ShmDir::new();
    let tail = run(&["tail", "--shm-dir", directory.text()]);
    assert_eq!(tail.status.code(), Some(1));
    assert!(text(&tail.stderr).contains("jimbot-mcp serve"), "{}", text(&tail.stderr));
    let simulate = run(&["simulate", "--to", "127.0.0.1:1"]);
    assert_eq!(simulate.status.code(), Some(1));
    assert!(text(&simulate.stderr).contains("jimbot-mcp serve"), "{}", text(&simulate.stderr));
}
