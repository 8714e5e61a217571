//! `jimbot-mcp completions`.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  jimbot-mcp completions bash > ~/.local/share/bash-completion/completions/jimbot-mcp
  jimbot-mcp completions zsh > ~/.zfunc/_jimbot-mcp
  jimbot-mcp completions fish > ~/.config/fish/completions/jimbot-mcp.fish")]
pub(super) struct Completions {
    /// The shell to complete in.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "jimbot-mcp", &mut script);
        super::answer(&script)
    }
}
