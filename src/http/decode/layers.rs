//! Undoes the encodings of a body, one after another.

use std::io::Read;

use brotli_decompressor::Decompressor;
use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use zeroize::Zeroizing;

use super::encoding::{GZIP, Named, is_zlib, named, starts_like_an_object};
use crate::http::{Body, MaybeSent};

/// The maximum number of encodings that are undone, one after another.
const MAX_LAYERS: usize = 4;

/// The decoded body, or `None` if the body is not compressed.
pub(super) fn decoded(headers: &HeaderMap, body: &[u8], max: usize) -> Result<Option<Body>, MaybeSent> {
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

/// Inflates a gzip stream (RFC 1952).
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

/// The whole output of `decoder`.
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

/// Appends `piece` to a body of at most `max` bytes.
fn push(body: &mut Body, piece: &[u8], max: usize) -> Result<(), MaybeSent> {
    if piece.len() > max.saturating_sub(body.as_bytes().len()) {
        return Err(MaybeSent::TooLarge);
    }
    body.extend(piece);
    Ok(())
}
