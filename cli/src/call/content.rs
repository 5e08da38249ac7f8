//! The content of a tool's result, for people.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::paint::{harmless, harmless_lines};
use crate::wire::envelope::{member, text};

/// The content as text, with a line end. For a terminal, characters that act on it are removed. Otherwise the text is
/// unchanged.
pub(super) fn shown(result: &RawValue, is_terminal: bool) -> String {
    let blocks: Vec<&RawValue> =
        member(result, "content").and_then(|content| serde_json::from_str(content.get()).ok()).unwrap_or_default();
    let mut shown = String::new();
    for block in &blocks {
        add(&mut shown, &block_text(block), is_terminal);
    }
    if blocks.is_empty()
        && let Some(structured) = member(result, "structuredContent")
    {
        add(&mut shown, structured.get(), is_terminal);
    }
    shown
}

fn add(shown: &mut String, text: &str, is_terminal: bool) {
    match is_terminal {
        true => shown.push_str(&harmless_lines(text)),
        false => shown.push_str(text),
    }
    if !shown.is_empty() && !shown.ends_with('\n') {
        shown.push('\n');
    }
}

/// A block as text. A block without text is described.
fn block_text(block: &RawValue) -> Cow<'_, str> {
    let part = |name: &str| member(block, name).and_then(text).unwrap_or_default();
    let resource = member(block, "resource");
    let of_resource = |name: &str| resource.and_then(|resource| member(resource, name)).and_then(text);
    match &*part("type") {
        "text" => part("text"),
        kind @ ("image" | "audio") => {
            // Four characters of base64 encode three bytes.
            let bytes = part("data").trim_end_matches('=').len() * 3 / 4;
            format!("[{kind} {}, {bytes} bytes]", harmless(&part("mimeType"))).into()
        }
        "resource" => match of_resource("text") {
            Some(text) => text,
            None => format!("[resource {}]", harmless(&of_resource("uri").unwrap_or_default())).into(),
        },
        "resource_link" => format!("[resource {}]", harmless(&part("uri"))).into(),
        _ => {
            // A kind of a later revision.
            serde_json::from_str::<Value>(block.get()).map_or(Cow::Borrowed(""), |block| block.to_string().into())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(result: &Value, is_terminal: bool) -> String {
        shown(&RawValue::from_string(result.to_string()).unwrap(), is_terminal)
    }

    #[test]
    fn blocks_are_shown_one_below_the_other() {
        let result = json!({ "content": [
            { "type": "text", "text": "a\nb\n" },
            { "type": "text", "text": "c" },
            { "type": "image", "mimeType": "image/png", "data": "AAAAAAA=" },
            { "type": "resource", "resource": { "uri": "file:///a", "text": "inside" } },
            { "type": "resource", "resource": { "uri": "file:///b", "blob": "AA==" } },
            { "type": "resource_link", "uri": "file:///c", "name": "c" },
            { "type": "later", "x": 1 },
        ], "structuredContent": { "not": "shown" } });
        let expected = "a\nb\nc\n[image image/png, 5 bytes]\ninside\n[resource file:///b]\n[resource file:///c]\n\
                        {\"type\":\"later\",\"x\":1}\n";
        assert_eq!(of(&result, false), expected);
    }

    #[test]
    fn structured_content_is_shown_where_there_is_no_other() {
        assert_eq!(of(&json!({ "content": [], "structuredContent": { "n": 1.0 } }), false), "{\"n\":1.0}\n");
        assert_eq!(of(&json!({ "content": [] }), false), "");
        assert_eq!(of(&json!({}), true), "");
    }

    #[test]
    fn a_terminal_is_not_controlled() {
        let result = json!({ "content": [{ "type": "text", "text": "a\u{1b}[2J\tb\r\nc" }] });
        assert_eq!(of(&result, true), "a\u{fffd}[2J\tb\nc\n");
        assert_eq!(of(&result, false), "a\u{1b}[2J\tb\r\nc\n");
    }
}
