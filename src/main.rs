//! The `jimbot-mcp` command.

fn main() {}
