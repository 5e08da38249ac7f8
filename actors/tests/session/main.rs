//! Tests of the session machine as stories: its answers, its flights, and its errors.

#![allow(clippy::expect_used, clippy::panic, reason = "a story that cannot go on is a failed test")]

mod acts;
mod arriving;
mod attempts;
mod background;
mod backoff;
mod clocks;
mod cohort;
mod configuring;
mod deadlines;
mod degraded;
mod early;
mod flights;
mod futility;
mod improvised;
mod issuers;
mod landings;
mod logins;
mod logouts;
mod owed;
mod patience;
mod properties;
mod reads;
mod refusals;
mod secrets;
mod serving;
mod shutdown;
mod signing_in;
mod standing;
mod support;
mod verdicts;
mod warm;
