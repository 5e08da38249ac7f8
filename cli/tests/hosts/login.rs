//! A login that another program has made.

use serde_json::json;
use tempfile::TempDir;
use tokenkeeper_testkit::hostile::Grant;
use tokio::io::AsyncWriteExt;

use crate::client::command;

/// Stores a login in a home, with an access token that has expired.
pub(crate) async fn import(home: &TempDir, server: &str, grant: &Grant) {
    let login = json!({
        "server": server,
        "issuer": grant.binding.issuer.0,
        "token_endpoint": grant.binding.token_endpoint,
        "client_id": grant.binding.client.id,
        "scope": grant.scope,
        "refresh_token": grant.refresh_token.expose(),
    });
    let mut import = command(home, &["import"]);
    let mut import = import.stdin(std::process::Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(login.to_string().as_bytes()).await.unwrap();
    assert!(import.wait().await.unwrap().success());
}
