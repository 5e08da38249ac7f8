//! All forms of a delay.

use super::*;

/// Sun, 06 Nov 1994 08:49:37 GMT.
const THEN: WallTime = WallTime::from_millis(784_111_777_000);

/// 90 s before [`THEN`].
const NOW: WallTime = WallTime::from_millis(THEN.as_millis() - 90_000);

fn asked(values: &[&str]) -> Option<u64> {
    let values: Vec<_> = values.iter().map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap()).collect();
    longest(&values, NOW).map(|span| span.as_secs())
}

#[test]
fn seconds_are_taken_as_they_are() {
    assert_eq!(asked(&["120"]), Some(120));
    assert_eq!(asked(&[" 7 "]), Some(7));
    assert_eq!(asked(&["\"7\""]), Some(7));
    assert_eq!(asked(&["0"]), Some(0));
    assert_eq!(asked(&["999999999"]), Some(999_999_999), "the engine bounds it");
}

#[test]
fn a_fraction_of_a_second_is_rounded_up() {
    assert_eq!(asked(&["299.997"]), Some(300));
    assert_eq!(asked(&["1.5"]), Some(2));
    assert_eq!(asked(&["0.001"]), Some(1));
    assert_eq!(asked(&["5.0"]), Some(5));
    assert_eq!(asked(&["1e2"]), Some(100));
}

#[test]
fn units_are_understood() {
    assert_eq!(asked(&["120s"]), Some(120));
    assert_eq!(asked(&["5 s"]), Some(5));
    assert_eq!(asked(&["2 minutes"]), Some(120));
    assert_eq!(asked(&["1m30s"]), Some(90));
    for duration in ["PT90S", "PT1M30S", "pt90s", "\"PT90S\"", "PT1S, PT90S"] {
        assert_eq!(asked(&[duration]), Some(90), "{duration}");
    }
    assert_eq!(asked(&["-PT90S"]), None);
}

#[test]
fn dates_are_read_in_all_formats() {
    for date in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "1994-11-06T08:49:37Z",
    ] {
        assert_eq!(asked(&[date]), Some(90), "{date}");
    }
    assert_eq!(asked(&["Sun, 06 Nov 1994 08:00:00 GMT"]), Some(0), "it has passed");
}

#[test]
fn a_time_since_1970_is_read_in_either_unit() {
    let now = WallTime::from_millis(1_767_225_600_000);
    for value in ["1767225660", "1767225660000"] {
        assert_eq!(longest([&HeaderValue::from_static(value)], now), Some(Duration::from_secs(60)), "{value}");
    }
}

#[test]
fn joined_and_repeated_headers_count_by_the_longest() {
    assert_eq!(asked(&["60, 60"]), Some(60));
    assert_eq!(asked(&["5,120,soon"]), Some(120));
    assert_eq!(asked(&["5", "soon", "Sun, 06 Nov 1994 08:49:37 GMT", "60"]), Some(90));
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    assert_eq!(asked(&[&format!("{date}, {date}")]), Some(90));
    assert_eq!(asked(&[&format!("60, {date}")]), Some(90));
    assert_eq!(asked(&[&format!("{date},120")]), Some(120));
}

#[test]
fn unreadable_negative_and_absurd_values_are_ignored() {
    for value in [
        "",
        " ",
        ",",
        "-5",
        "+5",
        "-0.5",
        "soon",
        "5 x",
        "nan",
        "inf",
        "ä",
        "Sun, 06 Nov 1994",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "99999999999999999999999999",
        "1e300",
    ] {
        assert_eq!(asked(&[value]), None, "{value:?}");
    }
}

fn told(status: u16, headers: &[(&'static str, &str)], body: Option<u64>) -> Option<f64> {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let status = StatusCode::from_u16(status).unwrap();
    of_answer(status, &headers, body.map(Duration::from_secs), NOW).map(|span| span.as_secs_f64())
}

#[test]
fn dates_count_from_the_servers_clock() {
    let headers = [("date", "Sun, 06 Nov 1994 08:49:32 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
    assert_eq!(told(429, &headers, None), Some(5.0));
    assert_eq!(told(429, &[("date", "today"), headers[1]], None), Some(90.0));
}

#[test]
fn milliseconds_have_headers_of_their_own() {
    assert_eq!(told(503, &[("retry-after-ms", "1500")], None), Some(1.5));
    assert_eq!(told(429, &[("x-ms-retry-after-ms", "250.5")], None), Some(0.2505));
    assert_eq!(told(429, &[("retry-after-ms", "1500"), ("retry-after", "2")], None), Some(2.0));
    for value in ["-1", "soon", "", "1e300", "nan"] {
        assert_eq!(told(429, &[("retry-after-ms", value)], None), None, "{value}");
    }
}

#[test]
fn a_rate_limit_names_its_reset() {
    for (headers, due) in [
        (vec![("ratelimit-reset", "50")], Some(50.0)),
        (vec![("x-ratelimit-reset-after", "1.25")], Some(2.0)),
        (vec![("x-ratelimit-reset-requests", "1m30s"), ("x-ratelimit-reset-tokens", "17ms")], Some(90.0)),
        (vec![("x-rate-limit-reset", "30")], Some(30.0)),
        (vec![("anthropic-ratelimit-requests-reset", "1994-11-06T08:49:37Z")], Some(90.0)),
        (vec![("ratelimit", "limit=100, remaining=0, reset=50")], Some(50.0)),
        (vec![("ratelimit", "\"default\";r=0;t=50, \"day\";r=7;t=900")], Some(50.0)),
        (vec![("ratelimit", "\"default\";r=1;t=50")], None),
        (vec![("ratelimit-reset", "50"), ("ratelimit-remaining", "3")], None),
        (vec![("ratelimit-reset", "50"), ("ratelimit-remaining", "0")], Some(50.0)),
        (vec![("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-remaining-requests", "9")], None),
    ] {
        assert_eq!(told(429, &headers, None), due, "{headers:?}");
        assert_eq!(told(503, &headers, None), due, "{headers:?}");
        assert_eq!(told(400, &headers, None), None, "{headers:?}");
    }
    assert_eq!(
        told(429, &[("ratelimit-reset", "50"), ("retry-after", "2")], None),
        Some(2.0),
        "`Retry-After` is preferred to a limit"
    );
}

#[test]
fn a_rate_limit_names_a_time_since_1970() {
    let date = ("date", "Thu, 01 Jan 2026 00:00:00 GMT");
    for value in ["1767225660", "1767225660.000", "1767225660000"] {
        assert_eq!(told(429, &[date, ("x-ratelimit-reset", value)], None), Some(60.0), "{value}");
    }
}

#[test]
fn a_403_of_a_limit_asks_for_a_pause_or_shows_that_no_request_is_left() {
    let is_of_limit = |headers: &[(&'static str, &str)]| {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        super::is_of_limit(&headers, NOW)
    };
    for limit in [
        &[("retry-after", "40")][..],
        &[("retry-after-ms", "0")],
        &[("x-ratelimit-remaining", "0")],
        &[("x-ratelimit-remaining", "5"), ("x-ratelimit-remaining-tokens", " 0 ")],
        &[("ratelimit", "limit=100, remaining=0, reset=50")],
        &[("ratelimit", "\"hour\";r=7;t=50, \"day\";r=0;t=90")],
    ] {
        assert!(is_of_limit(limit), "{limit:?}");
    }
    for other in [
        &[][..],
        &[("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "784111777")],
        &[("x-ratelimit-reset", "784111777")],
        &[("ratelimit", "limit=0, remaining=1, reset=50")],
        &[("retry-after", "soon"), ("x-ratelimit-remaining", "none")],
    ] {
        assert!(!is_of_limit(other), "{other:?}");
    }
}

#[test]
fn the_body_counts_where_no_header_asks() {
    assert_eq!(told(429, &[], Some(7)), Some(7.0));
    assert_eq!(told(429, &[("ratelimit-reset", "50")], Some(7)), Some(7.0));
    assert_eq!(told(429, &[("retry-after", "2")], Some(7)), Some(2.0));
    assert_eq!(told(401, &[], Some(7)), None);
    assert_eq!(of_member("64.57"), Some(Duration::from_secs(65)));
    assert_eq!(of_member("30s"), Some(Duration::from_secs(30)));
    for value in ["-1", "soon", "1767225660", "null", "{}"] {
        assert_eq!(of_member(value), None, "{value}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn no_header_makes_the_reader_stumble(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60),
        shaped in "[0-9a-zA-Z ,;=:.+\"TZ-]{0,60}",
    ) {
        for value in [bytes.as_slice(), shaped.as_bytes()] {
            let Ok(value) = HeaderValue::from_bytes(value) else { continue };
            let mut headers = HeaderMap::new();
            for name in ["retry-after", "retry-after-ms", "ratelimit", "ratelimit-reset", "date"] {
                headers.insert(name, value.clone());
                let _ = of_answer(StatusCode::TOO_MANY_REQUESTS, &headers, None, NOW);
            }
        }
    }
}
