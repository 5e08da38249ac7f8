//! The bound on the waits of these tests themselves.

use super::support::{until, within};

#[tokio::test(start_paused = true)]
#[should_panic(expected = "in vain for what never comes")]
async fn a_wait_for_what_never_comes_fails_its_test() {
    within("what never comes", std::future::pending::<()>()).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_what_comes_costs_no_time() {
    let began = tokio::time::Instant::now();
    let mut turns = 0;
    let ten_turns = || {
        turns += 1;
        turns == 10
    };
    until("ten turns", ten_turns).await;
    assert_eq!(within("a value", async { 1 }).await, 1);
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
}
