//! The answer that a person's browser brings back from an authorization page (RFC 6749 section 4.1.2, RFC 9207).
//!
//! A host reads the answer of its own route with [`read`], and the text that a person pastes with [`pasted`]. Both
//! determine the login that the answer belongs to, and check nothing else. The login source checks the [`parameters`].

#[cfg(feature = "loopback")]
mod loopback;
#[cfg(test)]
mod tests;

use std::fmt;

use sha2::{Digest, Sha256};
use url::form_urlencoded;

use tokenkeeper_actors::ports::login::AuthorizationCode;

use crate::{Callback, LoginKey};

#[cfg(feature = "loopback")]
pub use loopback::{HostForm, ListenError, LoopbackListener, LoopbackOptions, Outcome, Received};

/// The maximum length of an answer in bytes, with the text around it.
pub const MAX_ANSWER: usize = 8 * 1024;

/// The minimum length of a code that is taken without its address, so that some other word is not taken for a code and does
/// not end the login. Codes are meant to have 128 bits of entropy (RFC 6749 section 10.10), which take 22 characters.
const MIN_BARE_CODE: usize = 16;

/// The characters that people and programs put around an address.
const WRAPPERS: &[char] = &['"', '\'', '`', '<', '>', '(', ')', '[', ']', '“', '”', '‘', '’', '«', '»', ',', ';'];

/// The parameters of an answer, percent-decoded. All of them were chosen by a server or a browser, so none may be shown
/// before `iss` has been compared (RFC 9207 section 2.4).
///
/// `Debug` shows no values.
#[derive(Clone)]
#[non_exhaustive]
pub struct Parameters {
    /// The authorization code.
    pub code: Option<AuthorizationCode>,
    /// The key of the `state` parameter. `None` if a person pasted a bare code, which comes without `state` and `iss`. The
    /// login source accepts such an answer only from issuers that do not advertise `iss`.
    pub state: Option<LoginKey>,
    /// The issuer, to be compared byte by byte (RFC 9207 section 2.4).
    pub iss: Option<String>,
    /// The error code.
    pub error: Option<String>,
    /// The server's own text about the error.
    pub error_description: Option<String>,
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parameters")
            .field("code", &self.code.is_some())
            .field("state", &self.state)
            .field("iss", &self.iss.is_some())
            .field("error", &self.error.is_some())
            .finish_non_exhaustive()
    }
}

/// The reason why a text is no answer to a login. Nothing was consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallbackError {
    /// The text is longer than [`MAX_ANSWER`].
    #[error("the text is too long for the address of a finished sign-in: copy the address alone")]
    TooLong,
    /// The text contains neither an authorization code nor an error.
    #[error(
        "this is not the address of a finished sign-in: copy the whole address of the page that the browser ended at"
    )]
    NoAnswer,
    /// The text contains an answer without the `state` parameter, so it belongs to no login (RFC 6749 section 10.12).
    #[error(
        "the address lacks the parameter `state`: copy the whole address, and begin the sign-in again if that is all"
    )]
    MissingState,
    /// A parameter occurs twice (RFC 6749 section 3.1).
    #[error("the address has the parameter `{parameter}` twice, so it was not used: begin the sign-in again")]
    Duplicate {
        /// The parameter.
        parameter: &'static str,
    },
    /// The answer belongs to another login than the expected one.
    #[error("the address belongs to another sign-in: copy that of the page shown last")]
    OtherLogin,
}

/// Returns the key of a login whose `state` parameter is `state`, the SHA-256 of its bytes.
pub fn key_of_state(state: &str) -> LoginKey {
    LoginKey(Sha256::digest(state.as_bytes()).into())
}

/// Reads the answer in a query string, in a redirect URL, or in a text that contains one. Quotes around it and line breaks
/// that a terminal put into it are tolerated.
///
/// The callback keeps the query as it came, without `?` and fragment.
///
/// # Errors
///
/// The [`CallbackError`], except [`OtherLogin`](CallbackError::OtherLogin).
pub fn read(query_or_url: &str) -> Result<Callback, CallbackError> {
    let mut first_error = CallbackError::NoAnswer;
    for query in queries(query_or_url)? {
        match keyed(&query) {
            Ok(callback) => return Ok(callback),
            Err(error) if first_error == CallbackError::NoAnswer => first_error = error,
            Err(_) => {}
        }
    }
    Err(first_error)
}

/// Reads the text that a person pasted for the login of `key`. That is the redirect URL as for [`read`], or the
/// authorization code alone, as some servers show it on a page.
///
/// A bare code becomes the answer `code=<code>`, without `state` and `iss`. Its [`Parameters::state`] is `None`. A code that
/// was copied out of an address is percent-decoded. A word of fewer than 16 characters is no code.
///
/// ```
/// use tokenkeeper::callback::{key_of_state, parameters, pasted};
///
/// let key = key_of_state("af0ifjsldkj");
/// let callback = pasted(key, "'http://127.0.0.1:53211/callback?code=SplxlOBeZQQY&state=af0ifjsldkj'\n")?;
/// assert_eq!(parameters(callback.expose())?.state, Some(key));
/// let callback = pasted(key, "SplxlOBeZQQYbYS6WxSbIA")?;
/// assert_eq!(parameters(callback.expose())?.state, None);
/// # Ok::<(), tokenkeeper::callback::CallbackError>(())
/// ```
///
/// # Errors
///
/// The [`CallbackError`].
pub fn pasted(key: LoginKey, text: &str) -> Result<Callback, CallbackError> {
    let mut found = None;
    for query in queries(text)? {
        match keyed(&query) {
            Ok(callback) if callback.key == key => return Ok(callback),
            Ok(_) => found = Some(CallbackError::OtherLogin),
            Err(CallbackError::NoAnswer) => {}
            Err(error) => found = found.or(Some(error)),
        }
    }
    match (found, bare_code(text)) {
        (Some(error), _) => Err(error),
        (None, None) => Err(CallbackError::NoAnswer),
        (None, Some(code)) => {
            let answer = form_urlencoded::Serializer::new(String::new()).append_pair("code", &code).finish();
            // Percent-encoding may have made the answer longer than `parameters` accepts.
            if answer.len() > MAX_ANSWER { Err(CallbackError::TooLong) } else { Ok(Callback::new(key, answer)) }
        }
    }
}

/// Returns the parameters of an answer, as [`Callback::expose`] returns it. Unknown parameters are left out. An empty
/// parameter counts as absent (RFC 6749 section 3.1).
///
/// # Errors
///
/// [`TooLong`](CallbackError::TooLong) and [`Duplicate`](CallbackError::Duplicate).
pub fn parameters(answer: &str) -> Result<Parameters, CallbackError> {
    if answer.len() > MAX_ANSWER {
        return Err(CallbackError::TooLong);
    }
    let (mut code, mut state, mut iss, mut error, mut error_description) = (None, None, None, None, None);
    for (name, value) in form_urlencoded::parse(answer.as_bytes()) {
        let (place, parameter) = match &*name {
            "code" => (&mut code, "code"),
            "state" => (&mut state, "state"),
            "iss" => (&mut iss, "iss"),
            "error" => (&mut error, "error"),
            "error_description" => (&mut error_description, "error_description"),
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(CallbackError::Duplicate { parameter });
        }
    }
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    Ok(Parameters {
        code: given(code).map(AuthorizationCode::new),
        state: given(state).map(|state| key_of_state(&state)),
        iss: given(iss),
        error: given(error),
        error_description: given(error_description),
    })
}

/// The callback of a query, which must be an answer with a `state`.
fn keyed(query: &str) -> Result<Callback, CallbackError> {
    let Parameters { code, state, error, .. } = parameters(query)?;
    match state {
        _ if code.is_none() && error.is_none() => Err(CallbackError::NoAnswer),
        None => Err(CallbackError::MissingState),
        Some(key) => Ok(Callback::new(key, query)),
    }
}

/// The parts of `text` that may be a query, the likeliest first. A terminal breaks long addresses into lines, so the text with
/// its lines joined comes first.
fn queries(text: &str) -> Result<Vec<String>, CallbackError> {
    if text.len() > MAX_ANSWER {
        return Err(CallbackError::TooLong);
    }
    let joined = joined(text);
    let mut queries = Vec::new();
    for text in [joined.as_str(), text] {
        for word in text.split_whitespace() {
            for query in [query_of(unwrapped(word)), query_of(word.trim_matches(WRAPPERS))] {
                if !queries.iter().any(|known| known == query) {
                    queries.push(query.to_owned());
                }
            }
        }
    }
    Ok(queries)
}

/// `word` without the wrappers around it. Wrappers that are only at its end are kept, because they may belong to the query.
fn unwrapped(word: &str) -> &str {
    match word.starts_with(WRAPPERS) {
        true => word.trim_matches(WRAPPERS),
        false => word,
    }
}

/// `text` with each line of one word appended to the line before.
fn joined(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !whole.is_empty() && line.contains(char::is_whitespace) {
            whole.push(' ');
        }
        // A shell marks a continued line with a backslash.
        whole.push_str(line.strip_suffix('\\').unwrap_or(line));
    }
    whole
}

/// The query of a word, which is a URL or a query itself.
fn query_of(word: &str) -> &str {
    let word = word.split_once('#').map_or(word, |(before, _)| before);
    match word.split_once('?') {
        // A query may contain further question marks (RFC 3986 section 3.4).
        Some((before, _)) if before.contains('=') && !before.contains([':', '/']) => word,
        Some((_, query)) => query,
        None => word,
    }
}

/// The one word of `text`, if it can be an authorization code (RFC 6749 appendix A.11) and is no address.
fn bare_code(text: &str) -> Option<String> {
    let joined = joined(text);
    let word = unwrapped(joined.trim());
    if word.len() < MIN_BARE_CODE || word.contains("://") || !word.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let known = ["code", "state", "iss", "error", "error_description"];
    if form_urlencoded::parse(query_of(word).as_bytes()).any(|(name, _)| word.contains('=') && known.contains(&&*name))
    {
        return None;
    }
    percent_decoded(word).or_else(|| Some(word.to_owned()))
}

/// `word` decoded, if each `%` begins a valid escape and the result contains no control character.
fn percent_decoded(word: &str) -> Option<String> {
    let mut parts = word.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().filter(|code| !code.is_empty() && !code.contains(char::is_control))
}
