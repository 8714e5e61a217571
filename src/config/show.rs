//! `--print-config`: the settings in use as a TOML file, each with who set it.

use std::fmt::Write;

use super::error::Source;
use super::layers::Loaded;
use super::settings::all;

/// A file that gives the same settings again when it is read.
pub fn print(loaded: &Loaded) -> String {
    let mut out = String::new();
    let mut group = None;
    for setting in all() {
        if group != Some(setting.group) {
            group = Some(setting.group);
            let gap = if out.is_empty() { "" } else { "\n" };
            writeln!(out, "{gap}# {}", setting.group.title()).expect("a string takes all");
        }
        let source = loaded.sources.get(setting.name).unwrap_or(&Source::Default);
        let line = match setting.toml(&loaded.config) {
            Some(value) => format!("{} = {value}", setting.name),
            None => format!("# {} is not set", setting.name),
        };
        writeln!(out, "{line:<48} # {source}").expect("a string takes all");
    }
    out
}
