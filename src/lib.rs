//! The JimBot MCP service and its tools.
