//! Types for secrets. Their `Debug` does not show them. They are wiped when dropped, and cannot be serialized. Only the
//! stored form of a record or of an issuer's entry contains them, through [`expose`](RefreshToken::expose), and a store
//! seals (encrypts) that form.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Wraps the secret. The caller wipes its own copy, if it has one.
            pub fn new(secret: impl Into<String>) -> Self {
                Self(SecretString::from(secret.into()))
            }

            /// The secret itself. Reviews should check each call.
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }
        }

        impl From<String> for $name {
            fn from(secret: String) -> Self {
                Self::new(secret)
            }
        }

        impl From<&str> for $name {
            fn from(secret: &str) -> Self {
                Self::new(secret)
            }
        }

        /// Compares in constant time.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.expose().as_bytes().ct_eq(other.expose().as_bytes()).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

secret! {
    /// An access token. It is sent to its resource and nowhere else.
    AccessToken
}
secret! {
    /// A refresh token. It is sent to the token and revocation endpoints of the issuer that issued it, and nowhere
    /// else.
    RefreshToken
}
secret! {
    /// The secret of a confidential client (RFC 6749 section 2.3.1).
    ClientSecret
}
secret! {
    /// The registration access token of a client that registered dynamically (RFC 7592 section 1.3). It is sent to
    /// that client's own configuration endpoint and nowhere else.
    RegistrationToken
}
secret! {
    /// The private key that signs DPoP proofs (RFC 9449), as the login source encodes it. If it is lost, the grant that is
    /// bound to it is lost, too.
    DpopKey
}

secret! {
    /// The settings of a token source for one identity, as the source encodes them. They may contain credentials.
    SourceSettings
}

impl AccessToken {
    /// Whether the token can be sent in a header. It must consist of visible ASCII and spaces (RFC 6749 appendix A.12),
    /// and must not be blank.
    ///
    /// With any other access token, an answer is unusable, a login is refused, and a record serves no lease.
    pub fn is_well_formed(&self) -> bool {
        is_token(self.expose())
    }
}

impl RefreshToken {
    /// Whether the token consists of visible ASCII and spaces (RFC 6749 appendix A.17), and is not blank. A login with
    /// any other refresh token is refused, because the token was not copied exactly. A server's answer may contain the
    /// only valid refresh token, so it is kept as it is. It is never sent in a header.
    pub fn is_well_formed(&self) -> bool {
        is_token(self.expose())
    }
}

fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use std::marker::PhantomData;

    use serde::Serialize;
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// States whether a type has a serialized form and whether it can be printed. The inherent constants hide those of
    /// [`Neither`] if their bounds hold.
    struct Has<T>(PhantomData<T>);

    trait Neither {
        const SERIALIZED_FORM: bool = false;
        const DISPLAY: bool = false;
    }

    impl<T> Neither for Has<T> {}

    impl<T: Serialize> Has<T> {
        const SERIALIZED_FORM: bool = true;
    }

    impl<T: fmt::Display> Has<T> {
        const DISPLAY: bool = true;
    }

    #[test]
    fn secrets_are_wiped_and_have_no_serialized_form() {
        /// Compiles only for a type that is wiped when it is dropped.
        fn is_wiped(_: &impl ZeroizeOnDrop) {}
        is_wiped(&AccessToken::new("a").0);
        is_wiped(&RefreshToken::new("a").0);
        is_wiped(&ClientSecret::new("a").0);
        is_wiped(&RegistrationToken::new("a").0);
        is_wiped(&DpopKey::new("a").0);
        is_wiped(&SourceSettings::new("a").0);
        let forms = [
            Has::<String>::SERIALIZED_FORM,
            Has::<AccessToken>::SERIALIZED_FORM,
            Has::<RefreshToken>::SERIALIZED_FORM,
            Has::<ClientSecret>::SERIALIZED_FORM,
            Has::<RegistrationToken>::SERIALIZED_FORM,
            Has::<DpopKey>::SERIALIZED_FORM,
            Has::<SourceSettings>::SERIALIZED_FORM,
        ];
        assert_eq!(forms, [true, false, false, false, false, false, false]);
        let displays = [
            Has::<String>::DISPLAY,
            Has::<AccessToken>::DISPLAY,
            Has::<RefreshToken>::DISPLAY,
            Has::<ClientSecret>::DISPLAY,
            Has::<RegistrationToken>::DISPLAY,
            Has::<DpopKey>::DISPLAY,
            Has::<SourceSettings>::DISPLAY,
        ];
        assert_eq!(displays, [true, false, false, false, false, false, false]);
    }

    #[test]
    fn a_token_is_printable_ascii_and_not_blank() {
        for good in ["a", "a.b-c_d~e+f/g=", "a b", "~!\"\\"] {
            assert!(AccessToken::new(good).is_well_formed() && RefreshToken::new(good).is_well_formed(), "{good:?}");
        }
        for bad in
            ["", " ", "a\n", "\r\na", "a\tb", "a\0", "\u{1b}[2Ja", "a\u{7f}", "\u{feff}a", "\u{e9}", "a\u{202e}b"]
        {
            assert!(!AccessToken::new(bad).is_well_formed() && !RefreshToken::new(bad).is_well_formed(), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_shows_its_type_and_nothing_else() {
        assert_eq!(format!("{:?}", AccessToken::new("at-12345678")), "AccessToken(…)");
        assert_eq!(format!("{:#?}", RefreshToken::new("rt-12345678")), "RefreshToken(…)");
        assert_eq!(ClientSecret::new("cs").expose(), "cs");
        assert_eq!(DpopKey::new("dk").clone().expose(), "dk");
        assert_eq!(AccessToken::new("a"), AccessToken::new("a"));
        assert_ne!(AccessToken::new("a"), AccessToken::new("ab"));
    }
}
