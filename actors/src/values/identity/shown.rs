//! The form of accounts and targets for logs. It is bounded in length, and nothing in it acts on a terminal.

/// Whether a character of a text from outside may be shown as it is. Letters and digits of any script, spaces and ASCII
/// punctuation may. Any other character might act on a terminal, be invisible, or change the direction of reading.
pub fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || c.is_ascii_graphic()
}

/// A text that may be logged, with the information whether anything was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Shown {
    /// The text. Nothing in it acts on a terminal, is invisible, or changes the direction of reading.
    pub(in super::super) text: String,
    /// Whether anything was left out or replaced.
    pub(in super::super) elided: bool,
    /// The number of characters that still fit.
    room: usize,
}

impl Shown {
    /// The room for a target, in characters.
    pub(in super::super) const TARGET: usize = 160;

    /// An empty text with room for `room` characters, including the mark for omitted text.
    pub(in super::super) fn with_room(room: usize) -> Self {
        Self { text: String::new(), elided: false, room }
    }

    /// Appends `text` as far as there is room. A character that is not [plain](is_plain) is replaced.
    pub(in super::super) fn push(&mut self, text: &str) {
        for c in text.chars() {
            let plain = is_plain(c);
            self.elided |= !plain;
            self.place(if plain { c } else { char::REPLACEMENT_CHARACTER });
        }
    }

    /// Marks an omission at this place.
    pub(in super::super) fn elide(&mut self) {
        self.elided = true;
        self.place('…');
    }

    fn place(&mut self, c: char) {
        match self.room {
            0 => return,
            // More text may follow, so the last character that fits is always the mark for omitted text.
            1 => {
                self.text.push('…');
                self.elided = true;
            }
            _ => self.text.push(c),
        }
        self.room -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(room: usize, text: &str) -> (String, bool) {
        let mut shown = Shown::with_room(room);
        shown.push(text);
        (shown.text, shown.elided)
    }

    #[test]
    fn what_fits_is_shown_and_what_does_not_is_marked() {
        assert_eq!(shown(4, "abc"), ("abc".to_owned(), false));
        assert_eq!(shown(4, "abcd"), ("abc…".to_owned(), true));
        assert_eq!(shown(4, "abcdefgh"), ("abc…".to_owned(), true));
        assert_eq!(shown(0, "a"), (String::new(), false));
    }

    #[test]
    fn what_a_terminal_or_a_reader_could_misread_is_replaced() {
        assert_eq!(shown(99, "Zoë 日本 ~!/"), ("Zoë 日本 ~!/".to_owned(), false));
        let tricks = ['\u{1b}', '\n', '\u{9b}', '\u{202e}', '\u{200b}', '\u{2028}', '\u{a0}', '…'];
        for c in tricks {
            assert_eq!(shown(99, &format!("a{c}b")), ("a\u{fffd}b".to_owned(), true));
        }
    }

    #[test]
    fn an_omission_is_marked_in_its_place() {
        let mut shown = Shown::with_room(99);
        shown.push("a/");
        shown.elide();
        shown.push("/b");
        assert_eq!((shown.text.as_str(), shown.elided), ("a/…/b", true));
    }
}
