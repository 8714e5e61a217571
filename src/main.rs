//! The `jimbot-mcp` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    jimbot_mcp::cli::run()
}
