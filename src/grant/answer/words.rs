//! The error codes of a token endpoint's answer, and the choice of the one that is reported. An error code is called a word.
//!
//! Servers put the code in many places. All candidates of an answer are kept, and the first one that has a meaning in
//! the issuer's profile is reported. If none has, the first one by its place is reported.

mod meaning;

use std::fmt;

use http::{HeaderMap, header};
use tokenkeeper_actors::law::profile::Profile;
use zeroize::Zeroizing;

/// The maximum length of an error code that is reported, in bytes.
const MAX_WORD: usize = 64;

/// The maximum length of a text that is compared with the known codes, in bytes. The rest of a longer text is ignored.
const MAX_TEXT: usize = 256;

/// The maximum number of candidates of one answer.
const MAX_CANDIDATES: usize = 32;

/// Codes of a fault inside the server. A text beside one of them does not count as a statement about the token.
const FAULTS: [&str; 4] = ["server_error", "temporarily_unavailable", "internal_server_error", "internal_error"];

/// The kind of the member that holds a candidate, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// `error` (RFC 6749 section 5.2).
    Error,
    /// A code of the provider's own, for example `error.code` or `error_code`.
    Code,
    /// A kind of error, for example `error.type` or `errors[].errorType`.
    Type,
    /// Text or a number. It counts only if the profile knows it, and is otherwise never reported.
    Text,
}

/// The candidates of an answer, in the order in which they were found.
#[derive(Default)]
pub(super) struct Words(Vec<Candidate>);

/// A text that may be the error code of an answer.
struct Candidate {
    place: Place,
    text: Zeroizing<String>,
}

/// Shows no text, because an error message may repeat a token.
impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|candidate| candidate.place)).finish()
    }
}

impl Words {
    /// Adds a candidate.
    pub(super) fn add(&mut self, place: Place, text: &str) {
        let text = text.trim();
        if self.0.len() < MAX_CANDIDATES && !text.is_empty() {
            let end = (0..=MAX_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            self.0.push(Candidate { place, text: Zeroizing::new(text[..end].to_owned()) });
        }
    }

    /// Adds the candidates of `other`.
    pub(super) fn append(&mut self, other: Words) {
        let room = MAX_CANDIDATES - self.0.len();
        self.0.extend(other.0.into_iter().take(room));
    }

    /// Adds the candidates of an answer's headers: `x-sb-error-code` (Supabase), `x-amzn-errortype` (AWS) and the
    /// `error` of a `WWW-Authenticate` (RFC 6750 section 3).
    pub(super) fn add_headers(&mut self, headers: &HeaderMap) {
        let texts = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        for text in texts("x-sb-error-code") {
            self.add(Place::Code, text);
        }
        for text in texts("x-amzn-errortype") {
            self.add(Place::Text, text.split(':').next().unwrap_or(text));
        }
        for text in texts(header::WWW_AUTHENTICATE.as_str()) {
            let codes = text.split([',', ' ']).filter_map(|part| part.trim().strip_prefix("error="));
            codes.for_each(|code| self.add(Place::Text, code.trim_matches('"')));
        }
    }

    /// The code that is reported for an issuer with this `profile`.
    pub(super) fn choose(mut self, profile: &Profile) -> Option<String> {
        self.0.sort_by_key(|candidate| candidate.place);
        let faulty = self.0.iter().filter(|candidate| candidate.place != Place::Text).any(Candidate::is_fault);
        let meant = self.0.iter().filter(|candidate| candidate.place != Place::Text || !faulty);
        meant
            .flat_map(|candidate| meaning::forms(&candidate.text))
            .find(|form| is_word(form) && has_meaning(profile, form))
            .or_else(|| self.0.iter().find_map(Candidate::reported))
    }
}

impl Candidate {
    /// The text itself, if it may be reported although the profile does not know it.
    fn reported(&self) -> Option<String> {
        let opaque = self.text.bytes().any(|byte| !byte.is_ascii_digit());
        let shown = self.place != Place::Text && opaque && is_word(&self.text);
        shown.then(|| self.text.to_string())
    }

    /// Whether the text is one of [`FAULTS`].
    fn is_fault(&self) -> bool {
        meaning::forms(&self.text).iter().any(|form| FAULTS.contains(&form.as_str()))
    }
}

/// Whether the profile knows the code, or every profile does.
fn has_meaning(profile: &Profile, word: &String) -> bool {
    let lists = [&profile.dead_words, &profile.client_words, &profile.unspent_words];
    word == "use_dpop_nonce" || lists.into_iter().any(|words| words.contains(word))
}

/// Whether `text` looks like a code from a fixed vocabulary. Free text might name people or tokens.
fn is_word(text: &str) -> bool {
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(sane)
}

#[cfg(test)]
mod tests;
