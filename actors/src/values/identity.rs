//! The server identity, which names the session of one account at one target.

mod account;
mod shown;
mod target;

pub use account::Account;
pub use shown::is_plain;
pub use target::{IdpIssuer, Provider, Target};

pub(super) use shown::Shown;

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::resource::{ResourceError, ResourceUri, decoded};

/// An account and a target. It is the key of an actor, its slot, its record and its claims.
///
/// `Display` and `Debug` give a name for logs. It has at most 256 characters on one line, with no query, no key in a
/// path, no whole e-mail address and nothing that acts on a terminal. If anything was left out, eight hexadecimal
/// digits of the [`key`](Self::key)'s SHA-256 follow, so that two identities stay distinct. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIdentity(Arc<Whole>);

/// Both parts of an identity, which its clones share.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Whole {
    account: Account,
    target: Target,
}

/// The reason why a text is not a valid identity, or part of one. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The account's label is empty.
    #[error("the account's label is empty: give it a name, or leave it out to mean the default account")]
    EmptyAccount,
    /// The account's label is longer than 256 bytes.
    #[error("the account's label is longer than 256 bytes: shorten it")]
    LongAccount,
    /// The account's label contains a control character.
    #[error("the account's label contains a control character: remove it")]
    UnprintableAccount,
    /// The provider's name breaks the rules of [`Provider`].
    #[error(
        "the provider's name must be 1 to 64 lower-case letters, digits, dots, hyphens and underscores, and begin with \
         a letter or digit"
    )]
    BadProvider,
    /// The MCP server's URL is not a valid resource.
    #[error(transparent)]
    BadResource(#[from] ResourceError),
    /// The issuer is not a URL.
    #[error("the issuer is not usable: {0}")]
    BadIssuer(ResourceError),
    /// The issuer has a query (RFC 8414 section 2 forbids it) or characters that no URL has.
    #[error("the issuer has a query or characters outside ASCII: use the identifier exactly as its metadata gives it")]
    StrangeIssuer,
    /// The text was not made by [`ServerIdentity::key`].
    #[error("this is not the key of a server identity")]
    BadKey,
}

impl ServerIdentity {
    /// The identity of `account` at `target`.
    pub fn new(account: Account, target: Target) -> Self {
        Self(Arc::new(Whole { account, target }))
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.0.account
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// The MCP server, if that is the target.
    pub fn resource(&self) -> Option<&ResourceUri> {
        match &self.0.target {
            Target::Mcp(resource) => Some(resource),
            Target::Api { .. } | Target::Idp { .. } => None,
        }
    }

    /// The key under which stores keep this identity's data. It is printable ASCII, it never changes, and no two
    /// identities share one. It consists of the kind of target, a colon, the target, a `#` (which no target contains),
    /// and the account percent-encoded. For example `mcp:https://mcp.example.com/mcp#work`.
    ///
    /// It may contain the resource's query and the account's label, so it belongs in a store and not in a log. It may
    /// be as long as 9 KiB. A store with short names uses a digest of it.
    pub fn key(&self) -> String {
        let (kind, name) = self.0.target.kind_and_name();
        let mut key = [kind, ":", name, "#"].concat();
        self.0.account.escape_into(&mut key);
        key
    }

    /// The identity with this [`key`](Self::key).
    ///
    /// # Errors
    ///
    /// [`IdentityError::BadKey`] for anything that `key` does not return.
    pub fn from_key(key: &str) -> Result<Self, IdentityError> {
        let parse = || {
            let (target, account) = key.split_once('#')?;
            let (kind, name) = target.split_once(':')?;
            let account = String::from_utf8(decoded(account.as_bytes())).ok()?;
            Some(Self::new(Account::new(account).ok()?, Target::from_kind_and_name(kind, name)?))
        };
        // Comparing the keys refuses a second spelling of the same identity, in the escapes or in the URL.
        parse().filter(|identity| identity.key() == key).ok_or(IdentityError::BadKey)
    }
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, account) = (self.0.target.shown(), self.0.account.shown());
        f.write_str(&target.text)?;
        // No target contains a space, so the text after a space is never taken for a part of the target.
        if self.0.account != Account::default() {
            write!(f, " ({})", account.text)?;
        }
        if target.elided || account.elided {
            let digest: [u8; 32] = Sha256::digest(self.key()).into();
            let [a, b, c, d, ..] = digest;
            write!(f, " ~{a:02x}{b:02x}{c:02x}{d:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerIdentity({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn mcp(uri: &str, account: &str) -> ServerIdentity {
        ServerIdentity::new(Account::new(account).unwrap(), Target::mcp(uri).unwrap())
    }

    #[test]
    fn a_key_is_readable_and_reads_back() {
        let cases = [
            (mcp("https://mcp.example.com/mcp", "work"), "mcp:https://mcp.example.com/mcp#work"),
            (
                mcp("HTTPS://mcp.example.com/?a=b:c", "alice@example.com"),
                "mcp:https://mcp.example.com?a=b:c#alice@example.com",
            ),
            (mcp("https://a.example", "a b#c%é"), "mcp:https://a.example#a%20b%23c%25%C3%A9"),
            (ServerIdentity::new(Account::default(), Target::api("github").unwrap()), "api:github#default"),
            (
                ServerIdentity::new(Account::default(), Target::idp("https://IdP.example/").unwrap()),
                "idp:https://IdP.example/#default",
            ),
        ];
        for (identity, key) in cases {
            assert_eq!(identity.key(), key);
            assert_eq!(ServerIdentity::from_key(key), Ok(identity));
        }
    }

    #[test]
    fn only_keys_are_read_back() {
        for text in [
            "",
            "#",
            "mcp:https://a.example",
            "mcp:https://a.example#",
            "mcp:https://a.example/#work",
            "mcp:HTTPS://a.example#work",
            "mcp:https://a.example#wo rk",
            "mcp:https://a.example#%77ork",
            "mcp:https://a.example#a%c3%a9",
            "mcp:https://a.example#%ff",
            "mcp:https://a.example#a%",
            "mcp:https://a.example#a#b",
            "MCP:https://a.example#work",
            "file:https://a.example#work",
            "api:GitHub#work",
            "idp:https://a.example?q#work",
        ] {
            assert_eq!(ServerIdentity::from_key(text), Err(IdentityError::BadKey), "{text}");
        }
    }

    #[test]
    fn an_identity_gives_back_its_parts() {
        let identity = mcp("https://a.example/mcp", "work");
        assert_eq!(identity.account().as_str(), "work");
        assert_eq!(identity.resource().map(ResourceUri::as_str), Some("https://a.example/mcp"));
        assert_eq!(identity.target(), &Target::mcp("https://a.example/mcp").unwrap());
        let api = ServerIdentity::new(Account::default(), Target::api("github").unwrap());
        assert_eq!(api.resource(), None);
        assert_ne!(identity, mcp("https://a.example/mcp", "home"));
        assert_ne!(identity, mcp("https://a.example/mcp/", "work"));
    }

    #[test]
    fn a_plain_identity_is_shown_whole() {
        assert_eq!(mcp("https://a.example/mcp", "default").to_string(), "https://a.example/mcp");
        assert_eq!(mcp("https://a.example/mcp", "work").to_string(), "https://a.example/mcp (work)");
        let api = ServerIdentity::new(Account::new("work").unwrap(), Target::api("github").unwrap());
        assert_eq!(format!("{api:?}"), "ServerIdentity(api:github (work))");
    }

    #[test]
    fn identities_stay_distinct_where_text_is_left_out() {
        let shown = mcp("https://a.example/mcp?key=s3cret-value", "alice@example.com").to_string();
        assert_eq!(shown, "https://a.example/mcp?… (a…@example.com) ~8878a324");
        let names: BTreeSet<_> = ["alice@example.com", "anna@example.com", "a…@example.com"]
            .iter()
            .flat_map(|account| {
                ["https://a.example/mcp?key=1", "https://a.example/mcp?key=2"].map(|uri| mcp(uri, account))
            })
            .map(|identity| identity.to_string())
            .collect();
        assert_eq!(names.len(), 6);
    }

    #[test]
    fn either_omission_is_enough_for_a_digest() {
        let (target, account) = (mcp("https://a.example?q", "work"), mcp("https://a.example", "alice@example.com"));
        assert!(target.to_string().starts_with("https://a.example?… (work) ~"), "{target}");
        assert!(account.to_string().starts_with("https://a.example (a…@example.com) ~"), "{account}");
    }

    #[test]
    fn a_name_for_logs_is_bounded() {
        let (path, label) = ("/word".repeat(900), "é".repeat(128));
        for target in
            [Target::mcp(&format!("https://a.example{path}")), Target::idp(&format!("https://a.example{path}"))]
        {
            let name = ServerIdentity::new(Account::new(label.as_str()).unwrap(), target.unwrap()).to_string();
            assert!((230..=256).contains(&name.chars().count()), "{name}");
            assert!(name.contains("/word/") && name.contains(" (éé") && name.contains("…) ~"), "{name}");
        }
    }

    #[test]
    fn no_part_of_an_identity_shows_what_it_hides() {
        let identity = mcp("https://a.example/k-0123456789abcdefghij/mcp?key=s3cret-value", "alice.smith@example.com");
        let texts = [
            format!("{identity} {identity:?} {identity:#?}"),
            format!("{} {:?}", identity.account(), identity.account()),
            format!("{} {:?}", identity.target(), identity.target()),
            format!("{:?} {:?}", identity.resource(), ServerIdentity::from_key(&identity.key())),
        ];
        for text in texts {
            for hidden in ["s3cret", "key", "01234567", "lice", "smith"] {
                assert!(!text.contains(hidden), "{text}");
            }
        }
    }

    #[test]
    fn errors_carry_their_cause_in_one_sentence() {
        assert_eq!(
            Target::idp("a.example").unwrap_err().to_string(),
            "the issuer is not usable: this is not an absolute URL: write all of it, beginning with https://"
        );
        assert_eq!(Target::mcp("a.example").unwrap_err().to_string(), ResourceError::NotAbsolute.to_string());
    }

    fn target() -> impl Strategy<Value = Target> {
        let host = "[a-z]{1,3}\\.example(:[1-9]{2})?";
        prop_oneof![
            (host, "(/[a-z:@;%=-]{0,3}){0,3}", "(\\?[a-z:&=%?/-]{0,5})?").prop_filter_map(
                "a bad URL",
                |(host, path, query)| Target::mcp(&format!("https://{host}{path}{query}")).ok()
            ),
            "[a-z0-9][a-z0-9._-]{0,5}".prop_map(|name| Target::api(&name).unwrap()),
            (host, "(/[A-Za-z:@;%=-]{0,3}){0,3}")
                .prop_filter_map("a bad URL", |(host, path)| Target::idp(&format!("https://{host}{path}")).ok()),
        ]
    }

    fn identity() -> impl Strategy<Value = ServerIdentity> {
        let label = "[#%:/ aA@é~(){}…]{1,6}|\\PC{1,60}";
        (label, target()).prop_map(|(label, target)| ServerIdentity::new(Account::new(label).unwrap(), target))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_key_reads_back_as_the_identity_it_came_from(identity in identity()) {
            let key = identity.key();
            prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
            prop_assert_eq!(ServerIdentity::from_key(&key), Ok(identity));
        }

        #[test]
        fn two_identities_have_two_keys_and_two_names(one in identity(), other in identity()) {
            prop_assert_eq!(one == other, one.key() == other.key());
            prop_assert_eq!(one == other, one.to_string() == other.to_string());
            prop_assert_eq!(one.cmp(&other).is_eq(), one == other);
        }

        #[test]
        fn a_name_for_logs_is_one_line(
            label in "\\PC{1,60}|[\u{200b}\u{202e}\u{2028}a@]{1,40}",
            target in target(),
        ) {
            let name = ServerIdentity::new(Account::new(label).unwrap(), target).to_string();
            let plain = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || " …\u{fffd}".contains(c);
            prop_assert!(name.chars().all(plain), "{name:?}");
        }

        #[test]
        fn only_what_a_key_says_is_read_back(
            text in "\\PC{0,30}|(mcp|api|idp):(https://a)?[a-z/?%]{0,8}#[a-z%0-9]{0,8}",
        ) {
            if let Ok(identity) = ServerIdentity::from_key(&text) {
                prop_assert_eq!(identity.key(), text);
            }
        }
    }
}
