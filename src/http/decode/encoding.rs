//! The encodings of a body, as its headers name them and its first bytes show them.

use http::{HeaderMap, header};

/// The first bytes of a gzip member that is compressed with deflate, the only method there is (RFC 1952 section 2.3).
pub(super) const GZIP: &[u8] = &[0x1f, 0x8b, 8];

/// An encoding that a header names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Gzip,
    Deflate,
    Brotli,
}

/// The encodings in the order in which they were applied. Unknown names are left out, such as `identity` and, from some
/// servers, `utf-8`.
pub(super) fn named(headers: &HeaderMap) -> Vec<Named> {
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

/// Whether `bytes` start with a zlib header: method, window and checksum, without a preset dictionary (RFC 1950
/// section 2.2).
pub(super) fn is_zlib(bytes: &[u8]) -> bool {
    let [method, flags, ..] = *bytes else { return false };
    let checked = u16::from_be_bytes([method, flags]).is_multiple_of(31);
    method & 0x0f == 8 && method >> 4 <= 7 && flags & 0x20 == 0 && checked
}

/// `bytes` from their first character that is not blank.
pub(super) fn text(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start()
}

/// Whether `bytes` start like a JSON object. A compressed body of a sensible size never does.
pub(super) fn starts_like_an_object(bytes: &[u8]) -> bool {
    text(bytes).starts_with(b"{")
}

/// The name of the encoding of a body that is compressed, without decoding it.
///
/// A body that is text is not compressed, even if a header names an encoding, because some proxies decompress a body and keep
/// its `Content-Encoding`. A compressed body is practically never valid UTF-8.
#[cfg(any(test, not(feature = "decompression")))]
pub(super) fn of_body(headers: &HeaderMap, body: &[u8]) -> Option<&'static str> {
    if starts_like_an_object(body) || std::str::from_utf8(body).is_ok() {
        return None;
    }
    if body.starts_with(GZIP) {
        return Some("gzip");
    }
    match named(headers).last() {
        Some(Named::Brotli) => Some("br"),
        Some(Named::Deflate) => Some("deflate"),
        Some(Named::Gzip) | None => is_zlib(body).then_some("deflate"),
    }
}
