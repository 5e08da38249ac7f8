//! Text that a client or a provider chose, made safe to show on the gateway's pages.

/// The maximum length of a name in characters.
const MAX_NAME: usize = 64;

/// The visible part of a name that a client gave itself, on one line. Characters that turn the text around or take no room are
/// left out. `None` if nothing is left.
pub(crate) fn plain_name(name: &str) -> Option<String> {
    let is_shown = |character: &char| !character.is_control() && !is_invisible(*character) && !is_quotation(*character);
    let words = name.split_whitespace().map(|word| word.chars().filter(is_shown).collect::<String>());
    let text = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let short: String = text.chars().take(MAX_NAME).collect();
    (!short.is_empty()).then_some(short)
}

/// Quotation marks, with which a name would seem to end before its end.
fn is_quotation(character: char) -> bool {
    matches!(character, '"' | '\u{ab}' | '\u{bb}' | '\u{201c}'..='\u{201f}' | '\u{2039}' | '\u{203a}' | '\u{ff02}')
}

/// Characters that show nothing, and those of Unicode that change the direction of text.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}'
        | '\u{ffa0}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` for a page, in an element or in a quoted attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_neither_turns_the_page_around_nor_breaks_out_of_it() {
        assert_eq!(plain_name(" a\u{202e}b \n\t c\u{200b} "), Some("ab c".to_owned()));
        assert_eq!(plain_name("\u{200b}\u{7}"), None);
        assert_eq!(plain_name("Host” to act for you? “x"), Some("Host to act for you? x".to_owned()));
        assert_eq!(plain_name("\u{3164}\u{2800}\u{115f}"), None);
        assert_eq!(plain_name(&"x".repeat(1000)).map(|name| name.len()), Some(MAX_NAME));
        assert_eq!(escaped("<a href='x' title=\"&\">"), "&lt;a href=&#39;x&#39; title=&quot;&amp;&quot;&gt;");
    }
}
