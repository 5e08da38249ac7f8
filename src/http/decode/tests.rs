//! Compressed answers, with and without headers that describe them.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderValue;
use proptest::prelude::*;

use super::encoding::{is_zlib, of_body};
use super::*;

const JSON: &str = r#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600}"#;

const FORM: &str = "access_token=at-1&refresh_token=rt-1&expires_in=3600";

/// [`JSON`], compressed by Node's brotli.
const BROTLI: &str = "Gz8AgK2Otwl4PejYXCeVfS0yY7O3YtIqTK5ZdMroFExffrWIOMaBDKo3TNdCg+iN+JhQekn28SYPtkKKDIisEQ==";

/// A million blanks, compressed by Node's brotli.
const BROTLI_BOMB: &str = "Wz9Cj18CJB4LBPJzHgA=";

const MAX: usize = 10_000;

fn gzip(body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn deflate(body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn brotli() -> Vec<u8> {
    STANDARD.decode(BROTLI).unwrap()
}

fn headers(encodings: &[&str]) -> HeaderMap {
    let values = encodings.iter().map(|value| (header::CONTENT_ENCODING, HeaderValue::from_str(value).unwrap()));
    values.collect()
}

/// The text of the decoded answer.
fn text_of(encodings: &[&str], body: &[u8]) -> Vec<u8> {
    let mut answer = Response::new(Body::new(body));
    *answer.headers_mut() = headers(encodings);
    decode(answer, MAX).unwrap().into_body().as_bytes().to_vec()
}

#[test]
fn an_encoding_is_undone_even_if_the_headers_name_another() {
    let named = ["gzip", "x-gzip", "GZip", "deflate", "br", "gzip, identity", "identity", "utf-8", "zstd", "none", ""];
    for (body, how) in [(JSON, "an object"), (FORM, "a form")] {
        for name in named {
            for encodings in [vec![], vec![name], vec!["identity", name]] {
                assert_eq!(text_of(&encodings, body.as_bytes()), body.as_bytes(), "{how} as it is, {encodings:?}");
                assert_eq!(text_of(&encodings, &gzip(body)), body.as_bytes(), "{how} in gzip, {encodings:?}");
                let read_as_brotli = name == "br";
                if !read_as_brotli {
                    assert_eq!(text_of(&encodings, &zlib(body)), body.as_bytes(), "{how} in zlib, {encodings:?}");
                }
            }
        }
        assert_eq!(text_of(&["deflate"], &deflate(body)), body.as_bytes(), "{how} in bare deflate");
    }
    assert_eq!(text_of(&["br"], &brotli()), JSON.as_bytes());
    assert_eq!(text_of(&["identity, br"], &brotli()), JSON.as_bytes());
}

#[test]
fn several_encodings_are_undone_one_after_another() {
    assert_eq!(text_of(&["gzip, gzip"], &gzip(gzip(JSON))), JSON.as_bytes());
    assert_eq!(text_of(&["gzip"], &gzip(gzip(JSON))), JSON.as_bytes());
    assert_eq!(text_of(&["deflate, gzip"], &gzip(deflate(JSON))), JSON.as_bytes());
    assert_eq!(text_of(&["deflate", "gzip"], &gzip(deflate(JSON))), JSON.as_bytes());
    assert_eq!(text_of(&["br, gzip"], &gzip(brotli())), JSON.as_bytes());
    // A proxy removed one of the two encodings on the way.
    assert_eq!(text_of(&["gzip, br"], &gzip(JSON)), JSON.as_bytes());
    assert_eq!(text_of(&["br, gzip"], &brotli()), JSON.as_bytes());
    assert_eq!(text_of(&["gzip, gzip"], &gzip(JSON)), JSON.as_bytes());
    // No server applies this many encodings.
    let many = gzip(gzip(gzip(gzip(gzip(JSON)))));
    assert_eq!(text_of(&["gzip"], &many), gzip(JSON));
}

#[test]
fn a_gzip_file_may_have_several_members_and_padding() {
    let (begin, end) = JSON.split_at(20);
    assert_eq!(text_of(&[], &[gzip(begin), gzip(end)].concat()), JSON.as_bytes());
    assert_eq!(text_of(&[], &[gzip(JSON), vec![0; 9]].concat()), JSON.as_bytes());
    assert_eq!(text_of(&["gzip"], &[gzip(FORM), b"\r\n".to_vec()].concat()), FORM.as_bytes());
    let named = flate2::GzBuilder::new().filename("token.json").comment("x").extra(vec![1, 2]);
    let mut encoder = named.write(Vec::new(), Compression::best());
    encoder.write_all(JSON.as_bytes()).unwrap();
    assert_eq!(text_of(&[], &encoder.finish().unwrap()), JSON.as_bytes());
}

#[test]
fn the_headers_of_a_decoded_answer_describe_it() {
    let mut answer = Response::new(Body::new(gzip(JSON)));
    *answer.status_mut() = http::StatusCode::BAD_REQUEST;
    *answer.headers_mut() = headers(&["gzip"]);
    answer.headers_mut().insert(header::CONTENT_LENGTH, 72.into());
    answer.headers_mut().insert(header::RETRY_AFTER, 5.into());
    let answer = decode(answer, MAX).unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers().keys().collect::<Vec<_>>(), [header::RETRY_AFTER]);
}

#[test]
fn what_cannot_be_decoded_stays_as_it_is() {
    for (encodings, body) in [
        (vec!["gzip"], b"<html>no such page</html>".to_vec()),
        (vec!["deflate"], b"error=invalid_grant".to_vec()),
        (vec!["br"], b"error=invalid_grant".to_vec()),
        (vec!["deflate"], b"state=1&code=2".to_vec()),
        (vec!["gzip"], Vec::new()),
        (vec!["br"], Vec::new()),
        (vec![], b"x\x9cnot compressed".to_vec()),
        (vec![], b"hC".to_vec()),
        (vec![], vec![0x1f, 0x8b, 8]),
        (vec!["deflate"], vec![0x78]),
    ] {
        assert_eq!(text_of(&encodings, &body), body, "{encodings:?}");
    }
}

/// A build without the decoders names the encoding that it cannot undo, and takes no text for a compressed body.
#[test]
fn the_encoding_of_a_body_shows_without_decoding_it() {
    let of = |encodings: &[&str], body: &[u8]| of_body(&headers(encodings), body);
    for body in [JSON, FORM] {
        for named in [vec![], vec!["gzip"], vec!["deflate"], vec!["br"], vec!["utf-8"], vec!["br, gzip"]] {
            assert_eq!(of(&named, body.as_bytes()), None, "{named:?}");
            assert_eq!(of(&named, &gzip(body)), Some("gzip"), "{named:?}");
            let zlib_as = if named == ["br"] { "br" } else { "deflate" };
            assert_eq!(of(&named, &zlib(body)), Some(zlib_as), "{named:?}");
        }
        assert_eq!(of(&["deflate"], &deflate(body)), Some("deflate"));
    }
    assert_eq!(of(&["br"], &brotli()), Some("br"));
    assert_eq!(of(&["identity", "br, identity"], &brotli()), Some("br"));
    for (named, body) in [
        (vec!["gzip"], b"<html>no such page</html>".as_slice()),
        (vec!["br"], b"error=invalid_grant"),
        (vec!["deflate"], b""),
        (vec!["br"], b"\xef\xbb\xbf {\"a\":\"\xff\"}"),
        (vec![], b"hCard"),
        (vec!["gzip"], b"caf\xe9"),
        // It could be compressed with brotli or without a header of zlib, but nothing says so.
        (vec![], b"\xff\xfe"),
    ] {
        assert_eq!(of(&named, body), None, "{named:?}");
    }
}

#[test]
fn the_limit_holds_for_the_decoded_body_and_is_inclusive() {
    let decoded = |encodings: &[&str], body: Vec<u8>| {
        let mut answer = Response::new(Body::new(body));
        *answer.headers_mut() = headers(encodings);
        decode(answer, MAX).map(|answer| answer.body().as_bytes().len())
    };
    let bomb = " ".repeat(50_000_000);
    for (encodings, body) in [
        (vec!["gzip"], gzip(&bomb)),
        (vec![], gzip(&bomb)),
        (vec!["deflate"], zlib(&bomb)),
        (vec![], zlib(&bomb)),
        (vec!["deflate"], deflate(&bomb)),
        (vec![], gzip(gzip(&bomb))),
        (vec![], gzip(" ".repeat(MAX + 1))),
        (vec![], [gzip(" ".repeat(MAX)), gzip(" ")].concat()),
        (vec!["br"], STANDARD.decode(BROTLI_BOMB).unwrap()),
    ] {
        assert_eq!(decoded(&encodings, body), Err(MaybeSent::TooLarge), "{encodings:?}");
    }
    for body in [gzip(" ".repeat(MAX)), zlib(" ".repeat(MAX))] {
        assert_eq!(decoded(&[], body), Ok(MAX));
    }
}

/// The reader of JSON detects a truncation. The reader of forms cannot.
#[test]
fn a_truncated_object_is_decoded_as_far_as_it_goes_and_a_truncated_form_is_not() {
    let cut = |mut body: Vec<u8>, bytes: usize| {
        body.truncate(body.len() - bytes);
        body
    };
    for (encodings, object, form) in [
        (vec!["gzip"], gzip(JSON), gzip(FORM)),
        (vec![], gzip(JSON), gzip(FORM)),
        (vec![], zlib(JSON), zlib(FORM)),
        (vec!["deflate"], zlib(JSON), zlib(FORM)),
    ] {
        // The checksum is missing, and the object is whole.
        assert_eq!(text_of(&encodings, &cut(object.clone(), 4)), JSON.as_bytes());
        let half = text_of(&encodings, &cut(object, 20));
        assert!(JSON.as_bytes().starts_with(&half) && half.len() > 20 && half.len() < JSON.len(), "{half:?}");
        let form = cut(form, 4);
        assert_eq!(text_of(&encodings, &form), form);
    }
    let half = text_of(&["br"], &cut(brotli(), 3));
    assert!(JSON.as_bytes().starts_with(&half), "{half:?}");
    // The checksum is wrong.
    let mut damaged = gzip(JSON);
    let checksum = damaged.len() - 8;
    damaged[checksum] ^= 1;
    assert_eq!(text_of(&[], &damaged), JSON.as_bytes());
}

#[test]
fn a_whole_object_is_recognized() {
    let whole = |body: &[u8]| is_whole_object(&HeaderMap::new(), body, MAX);
    for body in [
        JSON.as_bytes(),
        b"{}",
        b"\xef\xbb\xbf \r\n{}",
        b"{}garbage",
        b"{\"a\":{\"b\":[\"}\"]}}}",
        b"{\"a\":\"\xff\"}",
        &gzip(JSON),
        &zlib(JSON),
        &gzip([JSON, "\n\n"].concat()),
    ] {
        assert!(whole(body), "{}", String::from_utf8_lossy(body));
    }
    for body in [
        &JSON.as_bytes()[..JSON.len() - 1],
        b"",
        b"{",
        b"\xef\xbb\xbf",
        b"{\"a\":{}",
        b"{\"a\":\"}",
        b"{\"a\":\"\\\"}",
        b"[{}]",
        b"[]",
        b"\"{}\"",
        b"1",
        FORM.as_bytes(),
        b"<html>{}</html>",
        b"{]}",
        &gzip(FORM),
        &gzip(JSON)[..40],
        &gzip(" ".repeat(MAX + 1)),
        &deflate(JSON),
    ] {
        assert!(!whole(body), "{}", String::from_utf8_lossy(body));
    }
    assert!(is_whole_object(&headers(&["deflate"]), &deflate(JSON), MAX));
    assert!(is_whole_object(&headers(&["br"]), &brotli(), MAX));
    let body = &gzip(JSON)[..gzip(JSON).len() - 8];
    assert!(whole(body), "without its checksum");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// No body causes a panic.
    #[test]
    fn any_body_is_decoded_or_left(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            (proptest::collection::vec(any::<u8>(), 0..200), 0..3_usize, any::<prop::sample::Index>(), any::<u8>())
                .prop_map(|(body, how, place, with)| {
                    let mut body = [gzip(&body), zlib(&body), deflate(&body)][how].clone();
                    let place = place.index(body.len());
                    body[place] ^= with;
                    body
                }),
        ],
        name in prop::sample::select(vec!["gzip", "deflate", "br", "gzip, br", "deflate, gzip"]),
    ) {
        let mut answer = Response::new(Body::new(body.clone()));
        *answer.headers_mut() = headers(&[name]);
        if let Ok(answer) = decode(answer, 100) {
            prop_assert!(answer.body().as_bytes().len() <= 100 || answer.body().as_bytes() == body);
        }
        is_whole_object(&headers(&[name]), &body, 100);
    }

    /// Text is not taken for a compressed body.
    #[test]
    fn an_object_is_left_as_it_is(
        rest in proptest::collection::vec(any::<u8>(), 0..200),
        name in prop::sample::select(vec!["gzip", "deflate", "br"]),
    ) {
        let body = [b"{".as_slice(), &rest].concat();
        prop_assert_eq!(text_of(&[name], &body), body);
    }
}

#[test]
fn a_zlib_header_has_a_method_a_window_and_a_checksum() {
    // The checksum makes the two bytes a multiple of 31.
    let header = |method: u8, flags: u8| {
        let missing = 31 - u16::from_be_bytes([method, flags]) % 31;
        [method, flags + u8::try_from(missing % 31).unwrap()]
    };
    for method in [0x08, 0x48, 0x78] {
        assert!(is_zlib(&header(method, 0x80)), "{method:#x}");
        let [_, flags] = header(method, 0x80);
        assert!(!is_zlib(&[method, flags + 1]), "another checksum");
    }
    assert!(!is_zlib(&header(0x88, 0x80)), "a window of more than 32 KiB");
    assert!(!is_zlib(&header(0x77, 0x80)), "another method");
    let with_dictionary = header(0x78, 0x20);
    assert!(with_dictionary[1] & 0x20 != 0 && !is_zlib(&with_dictionary), "a preset dictionary");
    assert!(!is_zlib(&[0x78]));
}
