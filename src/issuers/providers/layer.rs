//! Reads a table of providers, and lays it over another one. Its entries change or add rows of the other table.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;
use tokenkeeper_actors::values::ProviderName;

use super::check::Unique;
use super::error::ProvidersError;
use super::facts::ProviderFacts;

/// The one version of the format.
const VERSION: u32 = 1;

/// The maximum length of a chain of providers that extend one another.
const MAX_CHAIN: usize = 8;

/// The rows of a table, by the names of their providers.
pub(super) type Rows = BTreeMap<ProviderName, ProviderFacts>;

/// A table as it is written, checked member by member.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Table {
    #[serde(rename = "version", deserialize_with = "version")]
    _version: (),
    providers: Unique<ProviderFacts>,
}

fn version<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    match u32::deserialize(from)? {
        VERSION => Ok(()),
        _ => Err(D::Error::custom("expected 1, which is the one version of the format that this program knows")),
    }
}

/// Lays the table in `text` over `rows`.
pub(super) fn lay(rows: &Rows, text: &str) -> Result<Rows, ProvidersError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut from = serde_json::Deserializer::from_str(text);
    let table: Table = serde_path_to_error::deserialize(&mut from).map_err(ProvidersError::text)?;
    from.end().map_err(ProvidersError::syntax)?;
    // The typed reading above knows the place of each error, but not which members an entry contains. This untyped reading
    // does. An entry changes only the members that it contains.
    let written: Value = serde_json::from_str(text).map_err(ProvidersError::syntax)?;
    let layer = Layer { rows, entries: table.providers.0 };
    // Each host belongs to one provider. The entry that names it takes it from the provider that had it.
    let mut owners = BTreeMap::new();
    for (name, host) in layer.entries.iter().flat_map(|(name, entry)| entry.hosts.iter().map(move |host| (name, host)))
    {
        if let Some(other) = owners.insert(host.clone(), name_of(name)?) {
            let message =
                format!("the host {host} is that of {other} too, and an issuer has one provider: take it from one");
            return Err(ProvidersError::provider(name, message));
        }
    }
    let mut laid = rows.clone();
    for name in layer.entries.keys() {
        laid.insert(name_of(name)?, layer.facts(name, &written["providers"])?);
    }
    for (name, facts) in &mut laid {
        facts.hosts.retain(|host| owners.get(host).is_none_or(|owner| owner == name));
    }
    Ok(laid)
}

/// Adds one provider, or replaces the one of this name, with the checks of a table.
pub(super) fn put(rows: &Rows, name: ProviderName, facts: ProviderFacts) -> Result<Rows, ProvidersError> {
    let mut entry = serde_json::to_value(facts).map_err(ProvidersError::syntax)?;
    // An entry that extends the standard replaces everything that is known of a provider of the same name.
    entry[EXTENDS] = Value::String(STANDARD.to_owned());
    let table = serde_json::json!({ "version": VERSION, "providers": { name.as_str(): entry } });
    lay(rows, &table.to_string())
}

/// The member that names another provider.
const EXTENDS: &str = "extends";

/// The value of `extends` that stands for the standard.
const STANDARD: &str = "standard";

/// A table that is laid over another one.
struct Layer<'a> {
    rows: &'a Rows,
    entries: BTreeMap<String, ProviderFacts>,
}

impl Layer<'_> {
    /// The facts of the entry `name`. They are those of the provider that it extends, changed by the entry's own members.
    fn facts(&self, name: &str, written: &Value) -> Result<ProviderFacts, ProvidersError> {
        let mut chain = vec![name];
        // Follows the chain from the entry down to a provider that extends none.
        let mut facts = loop {
            let last = chain[chain.len() - 1];
            let Some(extends) = self.entries[last].extends.as_deref() else {
                break self.rows.get(&name_of(last)?).cloned().unwrap_or_default();
            };
            match (chain.contains(&extends), self.entries.get_key_value(extends)) {
                (true, _) => {
                    let message = format!(
                        "it extends itself ({}): take one `extends` out",
                        [&chain[..], &[extends]].concat().join(" → ")
                    );
                    return Err(ProvidersError::provider(name, message));
                }
                (false, Some(_)) if chain.len() == MAX_CHAIN => {
                    let message = "more than 8 providers extend one another in a row: let it extend a nearer one";
                    return Err(ProvidersError::provider(name, message));
                }
                (false, Some((next, _))) => chain.push(next),
                (false, None) if extends == STANDARD => break ProviderFacts::default(),
                (false, None) => {
                    let known = ProviderName::new(extends.to_owned()).ok().and_then(|extends| self.rows.get(&extends));
                    let message =
                        "`extends` names no provider: take one of this table or a built-in one, or `standard`";
                    break known.ok_or_else(|| ProvidersError::provider(last, message))?.clone().behaviour(extends);
                }
            }
        };
        while let Some(entry) = chain.pop() {
            let mut whole = serde_json::to_value(&facts).map_err(ProvidersError::syntax)?;
            merge(&mut whole, &written[entry]);
            facts =
                serde_json::from_value(whole).map_err(|error| ProvidersError::provider(entry, error.to_string()))?;
            facts.extends = None;
            if !chain.is_empty() {
                facts = facts.behaviour(entry);
            }
        }
        facts.agree().map_err(|message| ProvidersError::provider(name, message))?;
        Ok(facts)
    }
}

fn name_of(name: &str) -> Result<ProviderName, ProvidersError> {
    let named = ProviderName::new(name.to_owned());
    named.map_err(|error| ProvidersError::provider(name, format!("{error}: give the provider such a name")))
}

/// Changes the members of `whole` that `patch` has, and removes those that are null in it (RFC 7396).
fn merge(whole: &mut Value, patch: &Value) {
    match (whole, patch) {
        (Value::Object(whole), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    whole.remove(name);
                } else {
                    merge(whole.entry(name.as_str()).or_insert(Value::Null), value);
                }
            }
        }
        (whole, Value::Object(_)) => {
            *whole = Value::Object(serde_json::Map::new());
            merge(whole, patch);
        }
        (whole, patch) => *whole = patch.clone(),
    }
}
