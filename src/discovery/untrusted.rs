//! Text that a server wrote, in a form for logs and terminals.

use tokenkeeper_actors::values::is_plain;

/// The first `max_chars` characters of `text`. A character that might act on a terminal, be invisible, or change the
/// direction of reading is replaced, and omitted text is marked with `…`.
pub(crate) fn shown(text: &str, max_chars: usize) -> String {
    let mut chars = text.chars();
    let mut shown: String =
        chars.by_ref().take(max_chars).map(|c| if is_plain(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// A URL in a form for logs. Its query is left out, because it may hold a key.
pub(crate) fn shown_url(url: &str) -> String {
    const MAX_CHARS: usize = 256;
    match url.split_once(['?', '#']) {
        Some((before, _)) => shown(before, MAX_CHARS) + "?…",
        None => shown(url, MAX_CHARS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal_and_nothing_is_long() {
        assert_eq!(shown("Zoë 日本", 10), "Zoë 日本");
        assert_eq!(shown("a\u{1b}[31m\u{202e}b\u{200b}", 99), "a\u{fffd}[31m\u{fffd}b\u{fffd}");
        assert_eq!(shown("abcdef", 3), "abc…");
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!(shown_url("https://a.example/x?key=1"), "https://a.example/x?…");
        assert_eq!(shown_url(&"x".repeat(999)).chars().count(), 257);
    }
}
