//! The place of a field in the document of a person's claims.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The step that stands for every element of a list, or for every member of an object.
const ALL: &str = "*";

/// The place of a field in the document of a person's claims.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum UserPick {
    /// A JSON pointer (RFC 6901). The step `*` stands for every element of a list, and for every member of an object.
    Pointer(String),
    /// The elements of a list that have certain members.
    Element(UserElement),
}

/// The elements of a list that have certain members, such as the primary one of several e-mail addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct UserElement {
    /// The JSON pointer to the list.
    pub list: String,
    /// The members that an element must have, with their values.
    pub only: BTreeMap<String, Value>,
    /// The JSON pointer within the element.
    pub pointer: String,
}

impl UserPick {
    /// A place by its JSON pointer.
    pub fn pointer(pointer: impl Into<String>) -> Self {
        Self::Pointer(pointer.into())
    }

    pub(super) fn is_well_formed(&self) -> bool {
        let is_pointer = |pointer: &str| pointer.starts_with('/');
        match self {
            Self::Pointer(pointer) => is_pointer(pointer),
            Self::Element(element) => is_pointer(&element.list) && is_pointer(&element.pointer),
        }
    }

    /// The values at this place, in the order of the document.
    pub(crate) fn values<'v>(&self, document: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Pointer(pointer) => at(document, pointer),
            Self::Element(UserElement { list, only, pointer }) => {
                let elements = document.pointer(list).and_then(Value::as_array).into_iter().flatten();
                let is_meant = |element: &&Value| only.iter().all(|(name, value)| element.get(name) == Some(value));
                elements.filter(is_meant).flat_map(|element| at(element, pointer)).collect()
            }
        }
    }
}

/// The values that `pointer` leads to.
fn at<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let mut found = vec![value];
    for step in pointer.split('/').skip(1) {
        let single = ["/", step].concat();
        let next = |value: &'v Value| match value {
            Value::Array(elements) if step == ALL => elements.iter().collect(),
            Value::Object(members) if step == ALL => members.values().collect(),
            _ => value.pointer(&single).into_iter().collect::<Vec<_>>(),
        };
        found = found.into_iter().flat_map(next).collect();
    }
    found
}
