//! Prints the public API of one crate from rustdoc's JSON, one item a line.
//!
//! Blanket and auto-trait implementations are left out, and so are derived ones. A re-export names its source, because
//! the items of other crates are not in the JSON.

use std::collections::BTreeMap;
use std::error::Error;
use std::{env, fs};

use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let path = env::args().nth(1).ok_or("usage: api-lister RUSTDOC_JSON")?;
    let api = public_api::Builder::from_rustdoc_json(&path)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    let json: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let mut sources = BTreeMap::new();
    collect(&json["index"], &json["root"], "", &mut sources);
    for item in api.items() {
        let line = item.to_string();
        match line.strip_prefix("pub use ").and_then(|path| sources.get(path)) {
            Some(source) if !line.ends_with(source.as_str()) => println!("{line} = {source}"),
            _ => println!("{line}"),
        }
    }
    Ok(())
}

/// Maps the path of each re-export in a public module to its source.
fn collect(index: &Value, id: &Value, parent: &str, sources: &mut BTreeMap<String, String>) {
    let item = &index[id.to_string()];
    let name = |value: &Value| value.as_str().map(|name| format!("{parent}{name}")).unwrap_or_default();
    if let Value::Object(reexport) = &item["inner"]["use"] {
        if let Some(source) = reexport["source"].as_str() {
            sources.insert(name(&reexport["name"]), source.to_owned());
        }
    } else if let Value::Array(items) = &item["inner"]["module"]["items"] {
        let path = format!("{}::", name(&item["name"]));
        items.iter().for_each(|id| collect(index, id, &path, sources));
    }
}
