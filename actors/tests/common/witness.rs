//! Looks for secrets in text, in plain or encoded form, whole or in pieces of eight characters.

use std::collections::BTreeSet;

/// All forms of some secrets, in pieces of eight bytes.
#[derive(Debug)]
pub(crate) struct Witness {
    pieces: BTreeSet<[u8; 8]>,
    /// Indexed by two bytes, whether a piece begins with them. It skips most positions of a text.
    firsts: Vec<bool>,
    /// Expected words that were not seen yet.
    unseen: BTreeSet<&'static str>,
}

impl Witness {
    /// Looks for `secrets`, and expects to see each of `words`.
    pub(crate) fn new(secrets: &[&str], words: &[&'static str]) -> Self {
        let mut pieces = BTreeSet::new();
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            pieces.extend(form.as_bytes().windows(8).filter_map(|piece| <[u8; 8]>::try_from(piece).ok()));
        }
        let mut firsts = vec![false; 1 << 16];
        pieces.iter().for_each(|piece| firsts[first(piece)] = true);
        Self { pieces, firsts, unseen: words.iter().copied().collect() }
    }

    /// Returns the first piece of a secret that `text` contains.
    pub(crate) fn finds(&self, text: &str) -> Option<String> {
        let mut windows = text.as_bytes().windows(8).filter(|window| self.firsts[first(window)]);
        windows.find(|window| self.pieces.contains(*window)).map(|window| String::from_utf8_lossy(window).into_owned())
    }

    pub(crate) fn reads(&mut self, text: &str) {
        assert_eq!(self.finds(text), None, "a secret is shown in: {text}");
        self.unseen.retain(|word| !text.contains(word));
    }

    /// Asserts that every expected word was seen.
    pub(crate) fn is_content(&self) {
        assert!(self.unseen.is_empty(), "never seen: {:?}", self.unseen);
    }
}

fn first(piece: &[u8]) -> usize {
    usize::from(piece[0]) << 8 | usize::from(piece[1])
}

fn forms(secret: &str) -> Vec<String> {
    let bytes = |radix: fn(&u8) -> String| secret.as_bytes().iter().map(radix).collect::<String>();
    let mut forms = vec![
        secret.to_owned(),
        format!("{secret:?}"),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        bytes(|byte| format!("%{byte:02X}")),
        bytes(|byte| format!("{byte:02x}")),
        bytes(|byte| format!("{byte:02X}")),
        bytes(|byte| format!("{byte}, ")),
    ];
    // The bytes before a secret shift its bits among the digits of Base64. There are three shifts.
    for offset in 0..3 {
        let standard = base64(&secret.as_bytes()[offset..]);
        forms.push(standard.replace('+', "-").replace('/', "_"));
        forms.push(standard);
    }
    forms
}

/// Base64 of the whole groups of three bytes (RFC 4648 section 4).
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(ALPHABET[bits as usize % 64]);
    let groups = bytes.chunks_exact(3).map(|group| u32::from_be_bytes([0, group[0], group[1], group[2]]));
    groups.flat_map(|bits| [18, 12, 6, 0].map(|shift| digit(bits >> shift))).collect()
}
