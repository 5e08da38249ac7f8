//! OAuth sessions for MCP clients on rmcp 3.
