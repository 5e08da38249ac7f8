//! Colours for terminals that support them.

use std::io::{self, Write};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use serde_json::Value;
use tokenkeeper::engine::values::is_plain;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const NOTE: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const PLAIN: Style = Style::new();

/// The text in this style. [`print`] strips the style if the output has no colours.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// A text of several lines from outside, made safe to print. Line ends and tabs are kept.
pub(crate) fn harmless_lines(text: &str) -> String {
    let lines: Vec<_> =
        text.lines().map(|line| line.split('\t').map(harmless).collect::<Vec<_>>().join("\t")).collect();
    lines.join("\n")
}

/// A text from outside, made safe to print. Characters that act on a terminal or are invisible are replaced.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Writes `object` on a line. Characters that would act on a terminal, or be invisible there, are escaped, which changes
/// nothing for a program that reads it.
pub(crate) fn print_json(out: &mut impl Write, object: &Value) -> io::Result<()> {
    print_json_text(out, &object.to_string())
}

/// Like [`print_json`], for JSON as text. Whitespace between its tokens becomes a blank, so that it is one line.
pub(crate) fn print_json_text(out: &mut impl Write, json: &str) -> io::Result<()> {
    let mut line = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        if is_plain(c) {
            line.push(c);
        } else if matches!(c, '\n' | '\r' | '\t') {
            // A JSON string cannot contain these characters, so they are between tokens.
            line.push(' ');
        } else {
            let mut units = [0; 2];
            line.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    line.push('\n');
    out.write_all(line.as_bytes())
}

/// Writes `text`, with its colours if standard output supports them. `NO_COLOR`, pipes and plain terminals get none
/// (no-color.org).
pub(crate) fn print(out: &mut impl Write, text: &str) -> io::Result<()> {
    match anstream::AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => write!(out, "{}", anstream::adapter::strip_str(text)),
        _ => out.write_all(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRICKS: [&str; 10] =
        ["\u{1b}[2J", "\u{7}", "\n", "\r", "\u{9b}2J", "\u{202e}", "\u{2066}", "\u{200b}", "\u{feff}", "\u{e0041}"];

    #[test]
    fn a_word_from_elsewhere_draws_nothing() {
        for trick in TRICKS {
            let word = harmless(&format!("a{trick}b"));
            assert!(word.chars().all(|c| c.is_ascii_graphic() || c == char::REPLACEMENT_CHARACTER), "{word:?}");
        }
        assert_eq!(
            harmless("https://as.example/a?b=c Zo\u{eb} \u{65e5}"),
            "https://as.example/a?b=c Zo\u{eb} \u{65e5}"
        );
    }

    #[test]
    fn lines_and_tabs_stay_and_json_is_one_line() {
        assert_eq!(harmless_lines("a\tb\r\nc\u{1b}[2J\n"), "a\tb\nc\u{fffd}[2J");
        let mut line = Vec::new();
        print_json_text(&mut line, "{\r\n\t\"a\" : 1.0,\"b\":\"\u{7f}\"}").unwrap();
        assert_eq!(line, b"{   \"a\" : 1.0,\"b\":\"\\u007f\"}\n");
    }

    #[test]
    fn json_is_the_same_for_a_program_and_draws_nothing() {
        for trick in TRICKS {
            let object = serde_json::json!({ format!("k{trick}"): format!("Zo\u{eb}{trick}\"\\") });
            let mut line = Vec::new();
            print_json(&mut line, &object).unwrap();
            let line = String::from_utf8(line).unwrap();
            assert!(line.trim_end_matches('\n').chars().all(is_plain) && line.contains('\u{eb}'), "{line:?}");
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), object);
        }
    }
}
