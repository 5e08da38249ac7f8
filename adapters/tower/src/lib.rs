//! OAuth sessions for any HTTP client.
