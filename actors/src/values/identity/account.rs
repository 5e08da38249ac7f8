//! The account of a server identity.

use std::fmt;
use std::sync::Arc;

use super::{IdentityError, Shown};

/// The host's label for an account. It is `default` unless the host has several.
///
/// 1 to 256 bytes without control characters, compared byte by byte. It is not a secret, but often an e-mail address.
/// `Display` and `Debug` show at most 64 characters, and only the first letter and the domain of an address
/// (`a…@example.com`). The whole label is in [`as_str`](Self::as_str). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account(Arc<str>);

impl Account {
    /// The maximum length of a label, in bytes.
    const MAX_BYTES: usize = 256;

    /// The maximum number of characters that are shown.
    const MAX_SHOWN: usize = 64;

    /// The account with this label.
    ///
    /// # Errors
    ///
    /// An [`IdentityError`] when the label is empty, longer than 256 bytes, or contains a control character.
    pub fn new(label: impl Into<String>) -> Result<Self, IdentityError> {
        let label = label.into();
        match label.len() {
            0 => Err(IdentityError::EmptyAccount),
            length if length > Self::MAX_BYTES => Err(IdentityError::LongAccount),
            _ if label.contains(char::is_control) => Err(IdentityError::UnprintableAccount),
            _ => Ok(Self(label.into())),
        }
    }

    /// The whole label.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shown(&self) -> Shown {
        let mut shown = Shown::with_room(Self::MAX_SHOWN);
        // The @ may be percent-encoded, if the host has taken the label from a URL.
        let at = [self.0.rfind('@'), self.0.rfind("%40")].into_iter().flatten().max();
        match at.map(|at| self.0.split_at(at)) {
            Some((name, domain)) if !name.is_empty() => {
                shown.push(&name.chars().take(1).collect::<String>());
                shown.elide();
                shown.push(domain);
            }
            _ => shown.push(&self.0),
        }
        shown
    }

    /// Appends the label to `key`. It is percent-encoded except for letters, digits and a few readable marks.
    pub(super) fn escape_into(&self, key: &mut String) {
        for byte in self.0.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'@' | b'+' => {
                    key.push(char::from(byte));
                }
                _ => key.push_str(&format!("%{byte:02X}")),
            }
        }
    }
}

/// The account of a host that has only one.
impl Default for Account {
    fn default() -> Self {
        Self("default".into())
    }
}

/// Safe to log, as the type's documentation describes.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown().text)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(label: &str) -> Result<String, IdentityError> {
        Account::new(label).map(|account| account.to_string())
    }

    #[test]
    fn a_label_is_bounded_and_printable() {
        assert_eq!(shown(""), Err(IdentityError::EmptyAccount));
        assert_eq!(shown(&"é".repeat(129)), Err(IdentityError::LongAccount));
        assert!(Account::new("é".repeat(128)).is_ok());
        for control in ['\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}'] {
            assert_eq!(shown(&format!("wo{control}rk")), Err(IdentityError::UnprintableAccount));
        }
    }

    #[test]
    fn labels_are_compared_to_the_byte() {
        let account = |label: &str| Account::new(label).unwrap();
        assert_eq!(account("default"), Account::default());
        assert_ne!(account("Work"), account("work"));
        assert_ne!(account("work "), account("work"));
        assert_ne!(account("e\u{301}"), account("\u{e9}"));
        assert_eq!(account("Work").as_str(), "Work");
    }

    #[test]
    fn an_address_shows_its_first_letter_and_its_domain() {
        assert_eq!(shown("alice.smith@example.com").as_deref(), Ok("a…@example.com"));
        assert_eq!(shown("élodie@example.com").as_deref(), Ok("é…@example.com"));
        assert_eq!(shown("a@b@c").as_deref(), Ok("a…@c"));
        assert_eq!(shown("Alice <alice@example.com>").as_deref(), Ok("A…@example.com>"));
        assert_eq!(shown("alice%40example.com").as_deref(), Ok("a…%40example.com"));
        assert_eq!(shown("@alice").as_deref(), Ok("@alice"));
        assert_eq!(shown("work").as_deref(), Ok("work"));
        assert_eq!(format!("{:?}", Account::new("alice@example.com")), "Ok(Account(a…@example.com))");
    }

    #[test]
    fn a_long_label_is_cut_where_it_is_shown() {
        let text = shown(&"x".repeat(256)).unwrap();
        assert_eq!(text, format!("{}…", "x".repeat(63)));
    }
}
