//! The parts of one `WWW-Authenticate` header.

use std::borrow::Cow;

/// A part of a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// The scheme that begins a challenge.
    Scheme(&'a [u8]),
    /// The `token68` of the challenge.
    Token(&'a [u8]),
    /// A parameter of the challenge. The quotation marks and escapes of its value are removed.
    Parameter(&'a [u8], Cow<'a, [u8]>),
}

/// Reads a header from left to right. Malformed text is skipped up to the next comma outside quotation marks.
///
/// A scheme stands at the beginning or after a comma only. Without this rule, the words of an unquoted text would be
/// challenges. A parameter may follow another one without a comma, because some servers leave it out.
pub(super) struct Items<'a> {
    rest: &'a [u8],
    /// Whether a scheme may come next.
    after_comma: bool,
    /// Whether a `token68` may come next.
    after_scheme: bool,
}

impl<'a> Items<'a> {
    pub(super) fn of(header: &'a [u8]) -> Self {
        Self { rest: header, after_comma: true, after_scheme: false }
    }

    /// Takes the leading bytes for which `belongs` is true.
    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip_space(&mut self) -> bool {
        !self.take(is_space).is_empty()
    }

    /// Takes a `token68` if one stands here, up to a comma or the end.
    fn token68(&mut self) -> Option<&'a [u8]> {
        let before = self.rest;
        let length = self.take(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)).len();
        let padding = self.take(|byte| byte == b'=').len();
        self.skip_space();
        if length > 0 && self.rest.first().is_none_or(|byte| *byte == b',') {
            return before.get(..length + padding);
        }
        self.rest = before;
        None
    }

    /// Takes the value of a parameter. `None` if its quotation mark is never closed.
    fn value(&mut self) -> Option<Cow<'a, [u8]>> {
        match self.rest.split_first() {
            Some((b'"', rest)) => {
                self.rest = rest;
                self.quoted()
            }
            _ => Some(Cow::Borrowed(self.take(|byte| !is_space(byte) && byte != b','))),
        }
    }

    fn quoted(&mut self) -> Option<Cow<'a, [u8]>> {
        let plain = self.take(|byte| byte != b'"' && byte != b'\\');
        if let [b'"', rest @ ..] = self.rest {
            self.rest = rest;
            return Some(Cow::Borrowed(plain));
        }
        let mut value = plain.to_vec();
        loop {
            match self.rest {
                [b'\\', escaped, rest @ ..] => {
                    value.push(*escaped);
                    self.rest = rest;
                }
                [b'"', rest @ ..] => {
                    self.rest = rest;
                    return Some(Cow::Owned(value));
                }
                // The header ends before the closing quotation mark.
                [] | [b'\\'] => {
                    self.rest = &[];
                    return None;
                }
                _ => value.extend_from_slice(self.take(|byte| byte != b'"' && byte != b'\\')),
            }
        }
    }

    fn skip_malformed(&mut self) {
        while let Some((byte, rest)) = self.rest.split_first() {
            match byte {
                b',' => return,
                b'"' => {
                    self.rest = rest;
                    let _ = self.quoted();
                }
                _ => self.rest = rest,
            }
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        loop {
            self.skip_space();
            while let Some((b',', rest)) = self.rest.split_first() {
                self.rest = rest;
                (self.after_comma, self.after_scheme) = (true, false);
                self.skip_space();
            }
            self.rest.first()?;
            if std::mem::take(&mut self.after_scheme)
                && let Some(token) = self.token68()
            {
                return Some(Item::Token(token));
            }
            let name = self.take(is_token);
            let spaced = self.skip_space();
            match self.rest.split_first() {
                Some((b'=', rest)) if !name.is_empty() => {
                    self.rest = rest;
                    self.skip_space();
                    self.after_comma = false;
                    if let Some(value) = self.value() {
                        return Some(Item::Parameter(name, value));
                    }
                }
                next if !name.is_empty()
                    && self.after_comma
                    && (spaced || next.is_none_or(|(byte, _)| *byte == b',')) =>
                {
                    (self.after_comma, self.after_scheme) = (false, spaced);
                    return Some(Item::Scheme(name));
                }
                _ => self.skip_malformed(),
            }
        }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Whether `byte` may stand in a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
