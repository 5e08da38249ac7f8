//! The tools of a server, with the parameters that are repeated in headers, and the person's filter of tools.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::envelope::{MessageParts, member, object, text};
use super::message::McpMessage;

/// The member of a parameter's schema that names its header.
const ANNOTATION: &str = "x-mcp-header";

/// The deepest schema that is read.
const MAX_DEPTH: usize = 32;

/// The maximum number of tools that are remembered.
const MAX_TOOLS: usize = 4096;

/// The annotated parameters of the tools that were listed.
#[derive(Debug, Default)]
pub(crate) struct KnownTools(BTreeMap<String, Vec<HeaderParameter>>);

/// A parameter that is repeated in a header.
#[derive(Debug, PartialEq, Eq)]
struct HeaderParameter {
    header: HeaderName,
    /// The path of member names to the value in the arguments.
    path: Vec<String>,
}

impl KnownTools {
    /// Whether the schema of this tool was listed.
    pub(crate) fn knows(&self, tool: &str) -> bool {
        self.0.contains_key(tool)
    }

    /// The headers of a call with their values, which are not encoded yet. A parameter that is absent or `null` has none.
    pub(crate) fn parameters(&self, message: &McpMessage) -> Vec<(HeaderName, String)> {
        let Some(parameters) = message.tool().and_then(|tool| self.0.get(tool)) else { return Vec::new() };
        let envelope = MessageParts::read(&message.bytes);
        let Some(arguments) = envelope.and_then(|envelope| envelope.params().arguments) else { return Vec::new() };
        let value = |parameter: &HeaderParameter| {
            let value = parameter.path.iter().try_fold(arguments, |value, name| member(value, name))?;
            let value = match value.get().as_bytes().first()? {
                b'"' => text(value)?.into_owned(),
                b't' | b'f' | b'-' | b'0'..=b'9' => value.get().to_owned(),
                _ => return None,
            };
            Some((parameter.header.clone(), value))
        };
        parameters.iter().filter_map(value).collect()
    }

    /// Remembers the tools of an answer to `tools/list`. Returns the answer without the tools that are not offered to the
    /// client, and the names of these. Returns `None` if the answer is not changed.
    ///
    /// Tools that `filter` excludes are not offered, and if `has_headers`, neither are tools with invalid annotations
    /// (Streamable HTTP, Custom Headers from Tool Parameters).
    pub(crate) fn listed(
        &mut self,
        answer: &[u8],
        filter: &ToolFilter,
        has_headers: bool,
    ) -> Option<(Vec<u8>, Vec<String>)> {
        #[derive(Deserialize)]
        struct Listed<'a> {
            #[serde(borrow)]
            tools: Vec<&'a RawValue>,
        }
        let result = MessageParts::read(answer)?.result?;
        let array = member(result, "tools")?;
        let tools = object::<Listed<'_>>(result.get())?.tools;
        let (mut kept, mut left_out) = (Vec::new(), Vec::new());
        for tool in tools {
            let name = member(tool, "name").and_then(text).unwrap_or_default().into_owned();
            let parameters = match member(tool, "inputSchema") {
                Some(schema) if has_headers => annotated(schema),
                _ => Some(Vec::new()),
            };
            match parameters {
                Some(parameters) if filter.admits(&name) => {
                    kept.push(tool.get());
                    if has_headers && (self.0.contains_key(&name) || self.0.len() < MAX_TOOLS) {
                        self.0.insert(name, parameters);
                    }
                }
                _ => left_out.push(name),
            }
        }
        if left_out.is_empty() {
            return None;
        }
        // The array is a part of the answer's own bytes.
        let start = (array.get().as_ptr() as usize).checked_sub(answer.as_ptr() as usize)?;
        let (before, after) = (answer.get(..start)?, answer.get(start + array.get().len()..)?);
        Some(([before, b"[", kept.join(",").as_bytes(), b"]", after].concat(), left_out))
    }
}

/// The parameters of a schema that have a header. `None` if an annotation is invalid.
fn annotated(schema: &RawValue) -> Option<Vec<HeaderParameter>> {
    let schema: Value = serde_json::from_str(schema.get()).ok()?;
    let mut found = Vec::new();
    collect(&schema, SchemaPlace::Property(&mut Vec::new()), &mut found, 0)?;
    let names: BTreeSet<_> = found.iter().map(|parameter| parameter.header.as_str()).collect();
    (names.len() == found.len()).then_some(found)
}

/// The place of a schema within the schema of a tool.
enum SchemaPlace<'a> {
    /// The schema of the arguments, or of one of their properties, at this path.
    Property(&'a mut Vec<String>),
    /// Any other part, whose values have no single path. It must have no annotation.
    Elsewhere,
}

/// Collects the annotations of `schema` and of its parts. Returns `None` if one is invalid.
fn collect(schema: &Value, mut place: SchemaPlace<'_>, found: &mut Vec<HeaderParameter>, depth: usize) -> Option<()> {
    let Value::Object(members) = schema else {
        let Value::Array(parts) = schema else { return Some(()) };
        return parts.iter().try_for_each(|part| collect(part, SchemaPlace::Elsewhere, found, depth + 1));
    };
    if depth > MAX_DEPTH {
        return None;
    }
    if let Some(annotation) = members.get(ANNOTATION) {
        let SchemaPlace::Property(path) = &place else { return None };
        let is_primitive = matches!(members.get("type")?.as_str()?, "string" | "integer" | "boolean");
        let name = annotation.as_str().filter(|name| !name.is_empty() && is_primitive && !path.is_empty())?;
        let header = HeaderName::try_from(format!("mcp-param-{name}")).ok()?;
        found.push(HeaderParameter { header, path: path.to_vec() });
    }
    for (name, part) in members {
        match (name.as_str(), &mut place, part) {
            ("properties", SchemaPlace::Property(path), Value::Object(properties)) => {
                for (name, property) in properties {
                    path.push(name.clone());
                    collect(property, SchemaPlace::Property(path), found, depth + 1)?;
                    path.pop();
                }
            }
            // The member names in these are names of properties and definitions, not keywords.
            (
                "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas",
                _,
                Value::Object(parts),
            ) => {
                parts.values().try_for_each(|part| collect(part, SchemaPlace::Elsewhere, found, depth + 1))?;
            }
            // These contain values, not schemas.
            ("default" | "const" | "enum" | "examples" | "dependentRequired" | ANNOTATION, ..) => {}
            _ => collect(part, SchemaPlace::Elsewhere, found, depth + 1)?,
        }
    }
    Some(())
}

/// The filter of the tools that the client may see. Default: all tools.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolFilter {
    /// The patterns of tools that are offered. Empty for all tools.
    only: Vec<String>,
    /// The patterns of tools that are not offered.
    without: Vec<String>,
}

impl ToolFilter {
    /// A filter of these patterns. A tool is offered if it matches a pattern without `!`, or if there is no such pattern, and
    /// if it matches no pattern that begins with `!`. In a pattern, `*` stands for any text.
    pub(crate) fn new(patterns: &[String]) -> Self {
        let (without, only): (Vec<_>, Vec<_>) = patterns.iter().cloned().partition(|pattern| pattern.starts_with('!'));
        Self { only, without: without.iter().map(|pattern| pattern.trim_start_matches('!').to_owned()).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.only.is_empty() && self.without.is_empty()
    }

    pub(crate) fn admits(&self, tool: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, tool));
        (self.only.is_empty() || any(&self.only)) && !any(&self.without)
    }
}

/// Whether `text` is the pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn tool(name: &str, properties: &Value) -> Value {
        json!({ "name": name, "inputSchema": { "type": "object", "properties": properties } })
    }

    fn call(arguments: &str) -> McpMessage {
        let text = format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"t","arguments":{arguments}}}}}"#);
        McpMessage::read(Bytes::from(text)).unwrap()
    }

    #[test]
    fn annotated_parameters_become_headers() {
        let mut tools = KnownTools::default();
        let schema = json!({
            "region": { "type": "string", "x-mcp-header": "Region" },
            "count": { "type": "integer", "x-mcp-header": "Count" },
            "deep": { "type": "object", "properties": { "flag": { "type": "boolean", "x-mcp-header": "Flag" } } },
            "x-mcp-header": { "type": "string" },
            "query": { "type": "string", "default": { "x-mcp-header": "no" } },
        });
        let answer = json!({ "id": 1, "result": { "tools": [tool("t", &schema)] } }).to_string();
        assert_eq!(tools.listed(answer.as_bytes(), &ToolFilter::default(), true), None);
        let headers = |arguments| {
            let mut headers: Vec<_> =
                tools.parameters(&call(arguments)).iter().map(|(name, value)| format!("{name}={value}")).collect();
            headers.sort();
            headers
        };
        assert_eq!(
            headers(r#"{"region":"\u00e9","count":12345678901234567890,"deep":{"flag":false},"query":"q"}"#),
            ["mcp-param-count=12345678901234567890", "mcp-param-flag=false", "mcp-param-region=é"]
        );
        assert_eq!(headers(r#"{"region":null,"count":{}}"#), [] as [&str; 0]);
        assert_eq!(headers("null"), [] as [&str; 0]);
    }

    #[test]
    fn invalid_tools_are_left_out_and_the_rest_stays_as_it_is() {
        let invalid = [
            json!({ "a": { "type": "string", "x-mcp-header": "" } }),
            json!({ "a": { "type": "string", "x-mcp-header": "My Region" } }),
            json!({ "a": { "type": "string", "x-mcp-header": "Région" } }),
            json!({ "a": { "type": "number", "x-mcp-header": "A" } }),
            json!({ "a": { "type": "array", "x-mcp-header": "A" } }),
            json!({ "a": { "x-mcp-header": "A" } }),
            json!({ "a": { "type": "string", "x-mcp-header": 1 } }),
            json!({ "a": { "type": "string", "x-mcp-header": "A" }, "b": { "type": "string", "x-mcp-header": "a" } }),
            json!({ "a": { "type": "array", "items": { "type": "string", "x-mcp-header": "A" } } }),
            json!({ "a": { "anyOf": [{ "type": "string", "x-mcp-header": "A" }] } }),
        ];
        for properties in invalid {
            let bad = tool("bad", &properties).to_string();
            let answer =
                format!("{{\"id\":1,\"result\":{{ \"tools\" : [ {{\"name\":\"ok\",\"n\":1.0}} ,{bad}],\"ttlMs\":5}}}}");
            let (answer, left_out) =
                KnownTools::default().listed(answer.as_bytes(), &ToolFilter::default(), true).unwrap();
            let text = String::from_utf8(answer).unwrap();
            assert_eq!(
                text, "{\"id\":1,\"result\":{ \"tools\" : [{\"name\":\"ok\",\"n\":1.0}],\"ttlMs\":5}}",
                "{properties}"
            );
            assert_eq!(left_out, ["bad"]);
        }
        let answer = json!({ "result": { "tools": [tool("t", &json!({ "a": { "x-mcp-header": "" } }))] } }).to_string();
        assert_eq!(KnownTools::default().listed(answer.as_bytes(), &ToolFilter::default(), false), None);
    }

    #[test]
    fn a_filter_admits_by_patterns() {
        let filter = |patterns: &[&str]| ToolFilter::new(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
        let admits = |patterns: &[&str], tool| filter(patterns).admits(tool);
        assert!(admits(&[], "a") && filter(&[]).is_empty());
        assert!(admits(&["read_*"], "read_file") && !admits(&["read_*"], "write_file"));
        assert!(!admits(&["!delete*"], "delete_all") && admits(&["!delete*"], "read"));
        assert!(admits(&["*_file", "!w*"], "read_file") && !admits(&["*_file", "!w*"], "write_file"));
        for (pattern, text, is_match) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*aa", "aa", false),
            ("*x*", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), is_match, "{pattern} {text}");
        }
    }
}
