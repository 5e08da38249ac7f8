//! Decodes compressed answers.

use std::io::Read;

use brotli_decompressor::Decompressor;
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::{HeaderMap, Response, StatusCode, header};
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::pair::holds_pair;
use super::{Body, MaybeSent};

/// The maximum number of encodings that are undone, one after another.
const MAX_LAYERS: usize = 4;

/// The first bytes of a gzip member that is compressed with deflate, the only method there is (RFC 1952 section 2.3).
const GZIP: &[u8] = &[0x1f, 0x8b, 8];

/// Decodes the body of `answer` if it is compressed with gzip, deflate (in a zlib wrapper or bare) or brotli, or with
/// several of them. An answer that is not compressed is returned unchanged.
///
/// Token requests ask for `identity`, but some proxies compress nevertheless. The refresh grant calls this function on
/// each answer, so an [`HttpClient`](super::HttpClient) may return a compressed body as it arrived.
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
    let Some(body) = decoded(answer.headers(), answer.body().as_bytes(), max_answer)? else { return Ok(answer) };
    let mut answer = answer.map(|_| body);
    answer.headers_mut().remove(header::CONTENT_ENCODING);
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    Ok(answer)
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

/// The decoded body, or `None` if the body is not compressed.
fn decoded(headers: &HeaderMap, body: &[u8], max: usize) -> Result<Option<Body>, MaybeSent> {
    let mut named = named(headers);
    let mut decoded: Option<Body> = None;
    for _ in 0..MAX_LAYERS {
        let bytes = decoded.as_ref().map_or(body, Body::as_bytes);
        if bytes.is_empty() || starts_like_an_object(bytes) {
            break;
        }
        let name = named.pop();
        match layer(bytes, name, max)? {
            Some(body) => decoded = Some(body),
            // The encoding that the header names may have been removed by a proxy already.
            None if name.is_some() => {}
            None => break,
        }
    }
    Ok(decoded)
}

/// An encoding that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Gzip,
    Deflate,
    Brotli,
}

/// The encodings in the order in which they were applied. Unknown names are left out, such as `identity` and, from some
/// servers, `utf-8`.
fn named(headers: &HeaderMap) -> Vec<Named> {
    let values = headers.get_all(header::CONTENT_ENCODING);
    let names = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let known = names.filter_map(|name| match name.trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Some(Named::Gzip),
        "deflate" => Some(Named::Deflate),
        "br" => Some(Named::Brotli),
        _ => None,
    });
    known.collect()
}

/// The body without its outermost encoding, or `None` if that cannot be undone.
fn layer(bytes: &[u8], name: Option<Named>, max: usize) -> Result<Option<Body>, MaybeSent> {
    if bytes.starts_with(GZIP) {
        return Ok(gunzipped(bytes, max)?.usable());
    }
    if is_zlib(bytes)
        && name != Some(Named::Brotli)
        && let Some(body) = inflated(bytes, true, max)?.usable()
    {
        return Ok(Some(body));
    }
    match name {
        Some(Named::Deflate) => Ok(inflated(bytes, false, max)?.usable()),
        Some(Named::Brotli) => Ok(drained(Decompressor::new(bytes, 4096), max)?.usable()),
        Some(Named::Gzip) | None => Ok(None),
    }
}

/// The output of a decoder.
struct Output {
    body: Body,
    /// Whether the stream ended as its format demands.
    ended: bool,
}

impl Output {
    /// A damaged body is used only if its reader would detect the damage. A form-encoded body that breaks off looks
    /// complete, and its last token may be cut off.
    fn usable(self) -> Option<Body> {
        Some(self.body).filter(|body| self.ended || starts_like_an_object(body.as_bytes()))
    }
}

fn gunzipped(mut bytes: &[u8], max: usize) -> Result<Output, MaybeSent> {
    let mut whole = Output { body: Body::default(), ended: true };
    // A gzip stream may have several members. Padding after the last one is ignored.
    while whole.ended && bytes.starts_with(GZIP) {
        let mut decoder = GzDecoder::new(bytes);
        whole.ended = append(&mut whole.body, &mut decoder, max)?;
        bytes = decoder.into_inner();
    }
    Ok(whole)
}

fn drained(mut decoder: impl Read, max: usize) -> Result<Output, MaybeSent> {
    let mut body = Body::default();
    let ended = append(&mut body, &mut decoder, max)?;
    Ok(Output { body, ended })
}

/// Appends the output of `decoder`. Returns whether its stream ended as its format demands.
fn append(body: &mut Body, decoder: &mut impl Read, max: usize) -> Result<bool, MaybeSent> {
    let mut piece = Piece::new([0; PIECE]);
    loop {
        match decoder.read(piece.as_mut_slice()) {
            Ok(0) => return Ok(true),
            Ok(length) => push(body, piece.get(..length).unwrap_or_default(), max)?,
            Err(_) => return Ok(false),
        }
    }
}

/// Inflates a zlib stream (RFC 1950), or a bare deflate stream (RFC 1951), which must take up all of `bytes`.
///
/// flate2's readers are not used, because they take a truncated stream for a whole one.
fn inflated(bytes: &[u8], zlib: bool, max: usize) -> Result<Output, MaybeSent> {
    let mut decoder = Decompress::new(zlib);
    let mut body = Body::default();
    let mut piece = Piece::new([0; PIECE]);
    let mut rest = bytes;
    loop {
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let status = decoder.decompress(rest, piece.as_mut_slice(), FlushDecompress::None);
        let [read, written] = [decoder.total_in() - read, decoder.total_out() - written]
            .map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        rest = rest.get(read..).unwrap_or_default();
        push(&mut body, piece.get(..written).unwrap_or_default(), max)?;
        let ended = match status {
            Ok(Status::StreamEnd) => zlib || rest.is_empty(),
            Ok(_) if (read, written) != (0, 0) => continue,
            Ok(_) | Err(_) => false,
        };
        return Ok(Output { body, ended });
    }
}

/// The size of a decoder's output buffer.
const PIECE: usize = 4096;

/// A decoder's output buffer, which holds tokens.
type Piece = Zeroizing<[u8; PIECE]>;

fn push(body: &mut Body, piece: &[u8], max: usize) -> Result<(), MaybeSent> {
    if piece.len() > max.saturating_sub(body.as_bytes().len()) {
        return Err(MaybeSent::TooLarge);
    }
    body.extend(piece);
    Ok(())
}

/// Whether `bytes` start with a zlib header: method, window and checksum, without a preset dictionary (RFC 1950
/// section 2.2).
fn is_zlib(bytes: &[u8]) -> bool {
    let [method, flags, ..] = *bytes else { return false };
    let checked = u16::from_be_bytes([method, flags]).is_multiple_of(31);
    method & 0x0f == 8 && method >> 4 <= 7 && flags & 0x20 == 0 && checked
}

/// `bytes` from their first character that is not blank.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

/// Whether `bytes` start like a JSON object. A compressed body of a sensible size never does.
fn starts_like_an_object(bytes: &[u8]) -> bool {
    text(bytes).starts_with(b"{")
}

/// Whether `bytes` start with a whole JSON object. Text after it does not matter.
fn is_object(bytes: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(text(bytes)).into_iter::<IgnoredAny>();
    starts_like_an_object(bytes) && values.next().is_some_and(|value| value.is_ok())
}

#[cfg(test)]
mod tests;
