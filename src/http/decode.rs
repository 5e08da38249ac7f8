//! Decodes compressed answers.

mod encoding;
#[cfg(feature = "decompression")]
mod layers;

use http::{HeaderMap, Response, StatusCode, header};
use serde::de::IgnoredAny;

use self::encoding::{starts_like_an_object, text};
#[cfg(feature = "decompression")]
use self::layers::decoded;
use super::pair::holds_pair;
use super::{Body, MaybeSent};

/// Decodes the body of `answer` if it is compressed with gzip, deflate (in a zlib wrapper or bare) or brotli, or with
/// several of them. An answer that is not compressed is returned unchanged. This needs the feature `decompression`, which the
/// feature `reqwest` turns on.
///
/// Token requests ask for `identity`, but some proxies compress nevertheless. The library calls this function on each answer, so
/// with the feature an [`HttpClient`](super::HttpClient) may return a compressed body as it arrived.
///
/// **Without the feature** every answer is returned unchanged, and for one that is compressed a warning is logged. Its status and
/// headers still count, but its body cannot be read. If it answers a refresh, the outcome of that refresh is in doubt, and the new
/// tokens in it are lost. So a client must then decode the bodies itself.
///
/// The headers are a hint, because some proxies decompress a body and keep its `Content-Encoding`, and others remove
/// it:
///
/// | body | decoded as |
/// |---|---|
/// | starts like a JSON object | not compressed, even if the header names an encoding |
/// | starts like a gzip member | gzip, even if the header names another encoding or none |
/// | `Content-Encoding` names `deflate`, `br` | that encoding; `deflate` with or without a zlib wrapper |
/// | starts like a zlib stream | zlib |
/// | cannot be decoded | not compressed |
/// | is truncated or damaged | the part before the damage if it starts like a JSON object, else not compressed |
///
/// The headers of a decoded answer have no `Content-Encoding` and no `Content-Length`.
///
/// # Errors
///
/// [`MaybeSent::TooLarge`] if a decoded body would be longer than `max_answer` bytes. No more than that is decoded.
pub fn decode(answer: Response<Body>, max_answer: usize) -> Result<Response<Body>, MaybeSent> {
    let Some(body) = decoded(answer.headers(), answer.body().as_bytes(), max_answer)? else {
        #[cfg(not(feature = "decompression"))]
        warn_if_compressed(&answer);
        return Ok(answer);
    };
    let mut answer = answer.map(|_| body);
    answer.headers_mut().remove(header::CONTENT_ENCODING);
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(answer)
}

/// No encoding is undone, because the decoders are not part of this build.
#[cfg(not(feature = "decompression"))]
fn decoded(_: &HeaderMap, _: &[u8], _: usize) -> Result<Option<Body>, MaybeSent> {
    Ok(None)
}

/// Logs that an answer cannot be read, with the remedy, if its body is compressed.
#[cfg(not(feature = "decompression"))]
fn warn_if_compressed(answer: &Response<Body>) {
    let Some(encoding) = encoding::of_body(answer.headers(), answer.body().as_bytes()) else { return };
    tracing::warn!(
        encoding,
        status = answer.status().as_u16(),
        "a server's answer is compressed and cannot be read: turn on the feature `decompression` of tokenkeeper, or decode \
         answers in the host's HTTP client"
    );
}

/// Whether the bytes of a body that have arrived so far contain a whole JSON object, after [`decode`].
///
/// If so, they are the answer, even if the connection breaks or the time-out passes before the message ends (a wrong
/// `Content-Length`, a missing last chunk, a reset).
pub fn is_whole_object(headers: &HeaderMap, arrived: &[u8], max_answer: usize) -> bool {
    matches(headers, arrived, max_answer, is_object)
}

/// Whether the bytes of a body that broke off can be used as an answer, after [`decode`].
///
/// Under any status, they can if they contain a [whole JSON object](is_whole_object). Under status 200, the first part of an
/// object is enough if its members `access_token` and `refresh_token` have arrived. These two must be strings that are not
/// blank, closed by their quotes, and members of the object itself. Its other members may be missing. The server has then
/// consumed the refresh token that was presented, and its successor must not be lost.
/// [`read_answer`](crate::grant::read_answer) reads such a part.
///
/// Without a complete `refresh_token`, the bytes are no answer, because the new one may be in the missing part.
pub fn is_answer(status: StatusCode, headers: &HeaderMap, arrived: &[u8], max_answer: usize) -> bool {
    let pair = status == StatusCode::OK;
    matches(headers, arrived, max_answer, |bytes| is_object(bytes) || pair && holds_pair(text(bytes)))
}

/// Whether `holds` is true for the decoded bytes of a body. If the body is not compressed, for the bytes themselves.
fn matches(headers: &HeaderMap, arrived: &[u8], max_answer: usize, holds: impl Fn(&[u8]) -> bool) -> bool {
    match decoded(headers, arrived, max_answer) {
        Ok(body) => holds(body.as_ref().map_or(arrived, Body::as_bytes)),
        Err(_) => false,
    }
}

/// Whether `bytes` start with a whole JSON object. Text after it does not matter.
fn is_object(bytes: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text(bytes)).into_iter::<IgnoredAny>();
    starts_like_an_object(bytes) && values.next().is_some_and(|value| value.is_ok())
}

#[cfg(test)]
#[cfg(feature = "decompression")]
mod tests;
