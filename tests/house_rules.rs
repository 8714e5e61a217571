//! The rules of this repository that a program can hold up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where `unsafe` may stand: the log's crate, and the buffer protocol of the Python module.
const UNSAFE_PLACES: [&str; 2] = ["src/shm/", "python/src/buffer.rs"];
/// Past this a file has more than one subject.
const LINES_MAX: usize = 900;
/// Written by programs, so nobody reads them from top to bottom.
const GENERATED: [&str; 4] = ["python/jimbot/proto/", "clients/", "tests/vectors/", "Cargo.lock"];

fn tracked() -> Vec<PathBuf> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(ROOT)
        .output()
        .expect("git lists the files of a clone");
    assert!(listing.status.success(), "{}", String::from_utf8_lossy(&listing.stderr));
    let names = String::from_utf8(listing.stdout).expect("file names are UTF-8");
    names.lines().map(PathBuf::from).filter(|name| Path::new(ROOT).join(name).is_file()).collect()
}

/// Tracked files with one of these extensions (empty: none), written by people, with their text.
fn texts(extensions: &[&str]) -> Vec<(String, String)> {
    tracked()
        .into_iter()
        .filter(|name| {
            let extension = name.extension().and_then(|it| it.to_str()).unwrap_or("");
            let written = !GENERATED.iter().any(|place| name.starts_with(place));
            extensions.contains(&extension) && written
        })
        .filter_map(|name| {
            let text = fs::read_to_string(Path::new(ROOT).join(&name)).ok()?;
            Some((name.to_str().expect("a listed name").to_owned(), text))
        })
        .collect()
}

/// Asserts that no line of these files is a `fault`, and names those that are.
fn no_line(files: &[(String, String)], rule: &str, fault: impl Fn(&str, &str) -> bool) {
    assert!(!files.is_empty(), "nothing was looked at for: {rule}");
    let found: Vec<String> = files
        .iter()
        .flat_map(|(name, text)| {
            let lines = text.lines().enumerate().filter(|(_, line)| fault(name, line));
            lines.map(move |(at, line)| format!("{name}:{}: {}", at + 1, line.trim()))
        })
        .collect();
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn unsafe_stands_in_two_places_only() {
    no_line(&texts(&["rs"]), "`unsafe` belongs into the log's crate", |name, line| {
        let code = line.split("//").next().unwrap_or("");
        let keyword = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern", "unsafe("]
            .iter()
            .any(|form| code.contains(form));
        keyword
            && name != "tests/house_rules.rs"
            && !UNSAFE_PLACES.iter().any(|place| name.starts_with(place))
    });
}

#[test]
fn every_other_crate_forbids_unsafe() {
    for (name, text) in texts(&["toml"]) {
        // The fuzz targets are a workspace of their own, and their entry point is exported by a macro.
        let own_rules =
            ["src/shm/Cargo.toml", "python/Cargo.toml", "fuzz/Cargo.toml"].contains(&name.as_str());
        if name.ends_with("Cargo.toml") && text.contains("[package]") && !own_rules {
            assert!(
                text.contains("[lints]\nworkspace = true"),
                "{name} must take over the workspace's lints"
            );
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let holes = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ign", "ore")];
    let files = texts(&["rs", "py", "sh", "ts", "go", "lua", "md", "proto", "toml", "yml", ""]);
    no_line(&files, "finish it or leave it out", |_, line| {
        marks.iter().chain(&holes).any(|mark| line.contains(mark))
    });
}

#[test]
fn scripts_do_not_look_away() {
    let away = concat!("|| tr", "ue");
    no_line(&texts(&["sh", ""]), "a failure is handled or fatal", |_, line| line.contains(away));
}

#[test]
fn a_file_has_one_subject() {
    for (name, text) in texts(&["rs", "py", "sh", "ts", "go", "lua", ""]) {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines; look for a second noun in it");
    }
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let outside = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::os::unix",
        "std::process",
        "std::thread",
        "Instant::now",
        "SystemTime::now",
        "std::env",
        "println!",
        "eprintln!",
    ];
    let core: Vec<_> = texts(&["rs"])
        .into_iter()
        .filter(|(name, _)| {
            name.starts_with("src/core/src/") || name.starts_with("src/traffic/src/")
        })
        .collect();
    no_line(&core, "the core is driven by bytes and a clock that is passed in", |name, line| {
        let code = line.split("//").next().unwrap_or("");
        !name.ends_with("tests.rs") && outside.iter().any(|what| code.contains(what))
    });
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for (name, text) in texts(&["md"]) {
        let folder =
            Path::new(ROOT).join(&name).parent().expect("a file is in a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or("").trim();
            let outside =
                target.is_empty() || target.contains("://") || target.starts_with("mailto:");
            if !outside && !folder.join(target).exists() {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn nothing_depends_on_one_machine() {
    let places = [
        concat!("/tmp/", "wt"),
        concat!("/wor", "k/"),
        concat!("/ro", "ot/"),
        concat!("/home/", "user"),
    ];
    let files = texts(&["rs", "py", "sh", "toml", "md", "yml", "json", ""]);
    no_line(&files, "a path that exists on one machine only", |_, line| {
        places.iter().any(|place| line.contains(place))
    });
}

#[test]
fn the_readme_lists_every_page() {
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).expect("there is a README");
    for (name, _) in texts(&["md"]) {
        let is_page = name.starts_with("docs/") && name.matches('/').count() == 1;
        assert!(
            !is_page || readme.contains(&format!("({name})")),
            "README.md does not list {name}"
        );
    }
}
