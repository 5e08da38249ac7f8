//! The names under which a store keeps an issuer's entries. An entry is a client registration, the server's metadata, or a
//! cool-down.

use std::fmt;

use sha2::{Digest, Sha256};

use super::super::record::Issuer;
use super::super::resource::decoded;

/// Names one entry in a store, by its issuer and its kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IssuerKey {
    /// The issuer. Two spellings are two issuers.
    pub issuer: Issuer,
    /// The kind of entry.
    pub kind: EntryKind,
}

/// The kinds of entries of an issuer. A later version may add kinds. To add one here, add a variant, its content in
/// [`EntryContent`](super::EntryContent) and its name in [`IssuerKey::key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// The client registration of this name.
    Registration(RegistrationName),
    /// The server's metadata document.
    Metadata,
    /// The time in which the issuer asked for no requests.
    Cooldown,
}

/// Distinguishes the client registrations of one issuer, for example by the form of the redirect address and the
/// resource. The login that registers chooses it. Stores compare it byte by byte and do not interpret it.
///
/// `Debug` shows eight digits of its SHA-256, because a resource's URL may hold a key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistrationName(String);

impl RegistrationName {
    /// The longest name, in bytes. It has room for a canonical resource URI and some words.
    pub const MAX_BYTES: usize = 10 * 1024;

    /// The name with this text.
    ///
    /// # Errors
    ///
    /// [`KeyError::TooLong`] for a name of more than [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn new(name: impl Into<String>) -> Result<Self, KeyError> {
        let name = name.into();
        if name.len() > Self::MAX_BYTES { Err(KeyError::TooLong) } else { Ok(Self(name)) }
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RegistrationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest: [u8; 32] = Sha256::digest(&self.0).into();
        let [a, b, c, d, ..] = digest;
        write!(f, "RegistrationName(~{a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

/// The reason why a text is not the name of an entry. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The name of a registration is longer than [`RegistrationName::MAX_BYTES`].
    #[error("the name of the registration is longer than {} bytes: shorten it", RegistrationName::MAX_BYTES)]
    TooLong,
    /// [`IssuerKey::key`] of this version did not return this text. A later version may have.
    #[error("this is not the key of an issuer's entry")]
    BadKey,
}

impl IssuerKey {
    /// The key under which stores keep the entry. It is printable ASCII, it never changes, and no two entries share one. It
    /// consists of the name of the kind, a colon, the issuer, a `#`, and the registration's name. In the issuer and the
    /// name, `%`, `#` and everything that is not visible ASCII are percent-encoded. For example
    /// `metadata:https://as.example.com#`.
    ///
    /// It may contain the name of a registration, so it belongs in a store and not in a log. A store with short names
    /// uses a keyed digest of it.
    pub fn key(&self) -> String {
        let (word, name) = match &self.kind {
            EntryKind::Registration(name) => (REGISTRATION, name.as_str()),
            EntryKind::Metadata => (METADATA, ""),
            EntryKind::Cooldown => (COOLDOWN, ""),
        };
        let mut key = [word, ":"].concat();
        escape_into(&mut key, &self.issuer.0);
        key.push('#');
        escape_into(&mut key, name);
        key
    }

    /// The entry with this [`key`](Self::key).
    ///
    /// # Errors
    ///
    /// [`KeyError::BadKey`] for anything that `key` does not return, and for a kind of entry that belongs to a later
    /// version.
    pub fn from_key(key: &str) -> Result<Self, KeyError> {
        let text = |escaped: &str| String::from_utf8(decoded(escaped.as_bytes())).ok();
        let parse = || {
            let (word, rest) = key.split_once(':')?;
            let (issuer, name) = rest.split_once('#')?;
            let kind = match word {
                REGISTRATION => EntryKind::Registration(RegistrationName::new(text(name)?).ok()?),
                METADATA => EntryKind::Metadata,
                COOLDOWN => EntryKind::Cooldown,
                _ => return None,
            };
            Some(Self { issuer: Issuer(text(issuer)?), kind })
        };
        // Comparing the keys refuses a second spelling of the same entry.
        parse().filter(|parsed| parsed.key() == key).ok_or(KeyError::BadKey)
    }
}

const REGISTRATION: &str = "registration";
const METADATA: &str = "metadata";
const COOLDOWN: &str = "cooldown";

fn escape_into(key: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if !b"%#".contains(&byte) => key.push(char::from(byte)),
            _ => key.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registration(issuer: &str, name: &str) -> IssuerKey {
        let kind = EntryKind::Registration(RegistrationName::new(name).unwrap());
        IssuerKey { issuer: Issuer(issuer.into()), kind }
    }

    fn metadata(issuer: &str) -> IssuerKey {
        IssuerKey { issuer: Issuer(issuer.into()), kind: EntryKind::Metadata }
    }

    fn cooldown(issuer: &str) -> IssuerKey {
        IssuerKey { issuer: Issuer(issuer.into()), kind: EntryKind::Cooldown }
    }

    #[test]
    fn a_key_is_readable_and_reads_back() {
        let cases = [
            (metadata("https://as.example.com"), "metadata:https://as.example.com#"),
            (metadata("HTTPS://As.example.com/a%2Fb"), "metadata:HTTPS://As.example.com/a%252Fb#"),
            (metadata(""), "metadata:#"),
            (cooldown("https://as.example.com"), "cooldown:https://as.example.com#"),
            (
                registration("https://as.example.com/", "loopback https://mcp.example.com/mcp"),
                "registration:https://as.example.com/#loopback%20https://mcp.example.com/mcp",
            ),
            (registration("https://as.example.com/#é", "a#b"), "registration:https://as.example.com/%23%C3%A9#a%23b"),
            (registration("https://as.example.com", ""), "registration:https://as.example.com#"),
        ];
        for (entry, key) in cases {
            assert_eq!(entry.key(), key);
            assert_eq!(IssuerKey::from_key(key), Ok(entry));
        }
    }

    #[test]
    fn only_keys_are_read_back() {
        for text in [
            "",
            "#",
            "metadata",
            "metadata:https://a.example",
            "metadata:https://a.example#name",
            "metadata:https://a.example/%2f#",
            "metadata:https://a.example/%41#",
            "metadata:https://a example#",
            "metadata:https://a.example#%",
            "registration:https://a.example#a#b",
            "registration:https://a.example#%ff",
            "Registration:https://a.example#a",
            "cooldown:https://a.example#name",
            "jwks:https://a.example#",
            "mcp:https://a.example#work",
        ] {
            assert_eq!(IssuerKey::from_key(text), Err(KeyError::BadKey), "{text}");
        }
        let long = format!("registration:https://a.example#{}", "n".repeat(RegistrationName::MAX_BYTES + 1));
        assert_eq!(IssuerKey::from_key(&long), Err(KeyError::BadKey));
    }

    #[test]
    fn a_registration_name_is_bounded_and_not_shown() {
        let longest = "n".repeat(RegistrationName::MAX_BYTES);
        assert_eq!(RegistrationName::new(longest.clone()).unwrap().as_str(), longest);
        assert_eq!(RegistrationName::new(longest + "n"), Err(KeyError::TooLong));
        assert!(KeyError::TooLong.to_string().contains("10240 bytes"), "{}", KeyError::TooLong);
        let shown = format!("{:?}", registration("https://as.example.com", "https://mcp.example.com/?key=s3cret"));
        assert!(shown.contains("RegistrationName(~") && !shown.contains("s3cret"), "{shown}");
        let other = format!("{:?}", registration("https://as.example.com", "https://mcp.example.com/?key=other"));
        assert_ne!(shown, other);
    }

    fn entries() -> impl Strategy<Value = IssuerKey> {
        let text = || "[#%:/ aA@é~{}…]{0,6}|\\PC{0,40}";
        (text(), text(), 0..3_u8).prop_map(|(issuer, name, kind)| match kind {
            0 => registration(&issuer, &name),
            1 => metadata(&issuer),
            _ => cooldown(&issuer),
        })
    }

    proptest! {
        #[test]
        fn every_key_reads_back_as_the_entry_it_came_from(entry in entries()) {
            let key = entry.key();
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
            prop_assert_eq!(IssuerKey::from_key(&key), Ok(entry));
        }

        #[test]
        fn two_entries_have_two_keys(one in entries(), other in entries()) {
            prop_assert_eq!(one == other, one.key() == other.key());
        }

        #[test]
        fn only_what_a_key_says_is_read_back(text in "\\PC{0,30}|(metadata|registration|cooldown):[a-z/?%#0-9]{0,12}") {
            if let Ok(entry) = IssuerKey::from_key(&text) {
                prop_assert_eq!(entry.key(), text);
            }
        }
    }
}
