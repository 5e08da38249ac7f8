//! Each fault, before and after the work, with the exact counts.

use std::io::ErrorKind;

use tokenkeeper_testkit::hostile::{Fault, HostileAs, When};

use crate::client::{converse, wire};

#[tokio::test]
async fn a_reset_is_seen_as_a_reset() {
    for (when, spent) in [(When::Before, 0), (When::After, 1)] {
        let server = HostileAs::start().await.unwrap();
        let grant = server.grant();
        server.next(when, Fault::reset());
        let (answer, end) = converse(&server, &wire(&grant)).await;
        assert_eq!((&*answer, end.unwrap_err().kind()), ("", ErrorKind::ConnectionReset));
        let counts = server.counts();
        assert_eq!((counts.token_requests, counts.rotations, counts.faults), (1, spent, 1));
        assert!(counts.token_answers.is_empty());
    }
}
