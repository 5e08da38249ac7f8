//! The forms of a server's error code or error text that are compared with the codes of a profile.
//!
//! `InvalidGrantException`, `INVALID_GRANT` and `Invalid grant` are one code in three spellings. A text whose every
//! word is about a refresh token that is not good, or about a client that is not accepted, has the form
//! `invalid_refresh_token` or `invalid_client`. All other text has only its own form, which no profile knows.

/// Words that change no meaning.
const FILLERS: [&str; 24] = [
    "a",
    "an",
    "and",
    "been",
    "current",
    "given",
    "has",
    "have",
    "is",
    "it",
    "its",
    "oauth",
    "oauth2",
    "or",
    "passed",
    "presented",
    "provided",
    "supplied",
    "that",
    "the",
    "this",
    "was",
    "were",
    "your",
];

/// Words for a refresh token that is not good.
const STATES: [&str; 20] = [
    "already",
    "bad",
    "consumed",
    "deleted",
    "expired",
    "inactive",
    "incorrect",
    "invalid",
    "invalidated",
    "malformed",
    "replayed",
    "reused",
    "revoked",
    "rotated",
    "spent",
    "unknown",
    "unrecognized",
    "unrecognised",
    "used",
    "wrong",
];

/// Words for a token that was used before.
const USED: [&str; 7] = ["already", "consumed", "replayed", "reused", "rotated", "spent", "used"];

/// Words for a client that is not accepted.
const CLIENT_STATES: [&str; 12] = [
    "bad",
    "deleted",
    "expired",
    "failed",
    "incorrect",
    "invalid",
    "mismatch",
    "revoked",
    "unknown",
    "unrecognized",
    "unrecognised",
    "wrong",
];

/// The parts of a client that a server may name.
const CLIENT_PARTS: [&str; 10] = [
    "assertion",
    "authentication",
    "credential",
    "credentials",
    "id",
    "identifier",
    "secret",
    "key",
    "client",
    "application",
];

/// Phrases of several words that mean the same as a state.
const PHRASES: [&[&str]; 10] = [
    &["not", "found"],
    &["not", "valid"],
    &["not", "active"],
    &["not", "recognized"],
    &["not", "recognised"],
    &["no", "longer", "valid"],
    &["no", "longer", "active"],
    &["does", "not", "exist"],
    &["not", "exist"],
    &["reuse", "detected"],
];

/// The forms of `text`, from its own to the most general one.
pub(super) fn forms(text: &str) -> Vec<String> {
    let text = text.trim().trim_matches('"');
    let mut forms = vec![text.to_owned()];
    let opaque = !text.contains(|c: char| c.is_whitespace());
    let name = text.rfind(['/', '#', ':', '.']).filter(|_| opaque).map(|at| &text[at + 1..]);
    for part in [Some(text), Some(head(text)), name].into_iter().flatten() {
        let mut words = split(part);
        forms.push(words.join("_"));
        if words.last().is_some_and(|last| matches!(last.as_str(), "exception" | "error" | "fault")) {
            words.pop();
            forms.push(words.join("_"));
        }
        forms.extend(general(&words).map(str::to_owned));
    }
    forms
}

/// The text before the first colon, comma or full stop.
fn head(text: &str) -> &str {
    let ends = |(at, c): (usize, char)| {
        let next = text[at + c.len_utf8()..].chars().next();
        let ends = match c {
            ':' | ',' | ';' | '(' | '\n' => true,
            '.' => next.is_none_or(char::is_whitespace),
            _ => false,
        };
        ends.then_some(at)
    };
    text.char_indices().find_map(ends).map_or(text, |end| &text[..end])
}

/// The words of a text in lower case. A change from a small to a capital letter begins a word, as in `invalidGrant`.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before = None;
    for c in text.chars() {
        let begins = c.is_uppercase() && before.is_some_and(char::is_lowercase);
        if begins || !c.is_alphanumeric() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before = Some(c);
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The general form of a text whose every word is about a refresh token that is not good or a client that is not
/// accepted.
fn general(words: &[String]) -> Option<&'static str> {
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !FILLERS.contains(word)).collect();
    // "The provided authorization grant or refresh token is invalid" (RFC 6749 section 5.2).
    let words = words.strip_prefix(["authorization", "grant"].as_slice()).unwrap_or(&words);
    let named = |at: usize| match words[at..] {
        ["refresh", "token" | "tokens", ..] => Some(2),
        ["refreshtoken", ..] => Some(1),
        _ => None,
    };
    if let Some((at, length)) = (0..words.len()).find_map(|at| Some((at, named(at)?))) {
        let rest = [&words[..at], &words[at + length..]].concat();
        return are_states(&rest, &STATES, &[]).then_some("invalid_refresh_token");
    }
    // A refresh presents one token that can be used up, so a text about a used token means the refresh token.
    let used = words.iter().filter(|word| **word != "token");
    if words.contains(&"token") && used.clone().all(|word| USED.contains(word)) && used.clone().next().is_some() {
        return Some("invalid_refresh_token");
    }
    let client = words.contains(&"client") && are_states(words, &CLIENT_STATES, &CLIENT_PARTS);
    client.then_some("invalid_client")
}

/// Whether every word is one of `states`, a part of a [phrase](PHRASES) or one of `others`, and at least one is a state
/// or a phrase.
fn are_states(words: &[&str], states: &[&str], others: &[&str]) -> bool {
    let (mut rest, mut stated) = (words, false);
    while let Some((first, after)) = rest.split_first() {
        if let Some(phrase) = PHRASES.iter().find(|phrase| rest.starts_with(phrase)) {
            (rest, stated) = (&rest[phrase.len()..], true);
        } else if states.contains(first) {
            (rest, stated) = (after, true);
        } else if others.contains(first) {
            rest = after;
        } else {
            return false;
        }
    }
    stated
}
