//! The trait of the rmcp that is built with, as its source has it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A newer rmcp may add a method with a default, which would bypass the inner client's own. It has to be forwarded, too.
#[test]
fn every_method_of_rmcps_trait_is_forwarded() {
    let of_trait =
        methods(&read(&rmcp().join("src/transport/streamable_http_client.rs")), "pub trait StreamableHttpClient");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/client.rs");
    let of_impl = methods(&read(&own), "impl<C> StreamableHttpClient for SessionClient<C>");
    assert!(of_trait.len() >= 6, "{of_trait:?}");
    assert_eq!(of_trait, of_impl, "src/client.rs must forward the methods of rmcp's trait");
}

#[test]
fn methods_with_and_without_a_body_are_found_and_others_are_not() {
    let source = "
fn before() {}
pub trait Client: Clone {
    /// fn in_a_comment()
    fn plain(&self);
    async fn with_body(&self) {
        fn inside() {}
    }
}
fn after() {}";
    assert_eq!(methods(source, "pub trait Client"), BTreeSet::from(["plain".to_owned(), "with_body".to_owned()]));
}

/// The names of the methods of the item that begins with this text, which stands at the beginning of a line.
fn methods(source: &str, item: &str) -> BTreeSet<String> {
    let body = source.split(&format!("\n{item}")).nth(1).unwrap_or_else(|| panic!("{item} is missing"));
    let body = body.split("\n}").next().unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = lines.filter_map(|line| line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn "));
    names.map(|name| name.split(['(', '<']).next().unwrap().to_owned()).collect()
}

/// The folder of rmcp's source.
fn rmcp() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found: Vec<_> = packages.iter().filter(|package| package["name"] == "rmcp").collect();
    assert_eq!(found.len(), 1, "one rmcp in the workspace");
    Path::new(found[0]["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
