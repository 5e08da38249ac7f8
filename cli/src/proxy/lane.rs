//! The order in which the client's messages are sent.

use std::collections::VecDeque;

/// The order of a message in relation to those before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendOrder {
    /// For notifications, answers and the first request of an MCP session (`initialize`). They are sent one after another, and
    /// later messages of any order wait for each of them, until the relay calls [`SendLane::done`].
    Serial,
    /// For requests. They are sent side by side, up to a limit.
    Parallel,
    /// For requests whose answers last as long as the MCP session. They are sent side by side without a limit.
    Unbounded,
}

/// The messages that wait, and the number of those that are being sent. This type sends nothing itself.
#[derive(Debug)]
pub(super) struct SendLane<T> {
    max_side_by_side: usize,
    in_order: VecDeque<(u64, T)>,
    side_by_side: VecDeque<(u64, SendOrder, T)>,
    /// The position of the message that is being sent and that later messages wait for.
    running_in_order: Option<u64>,
    /// The number of [`Parallel`](SendOrder::Parallel) messages that are being sent.
    running: usize,
    next: u64,
}

impl<T> SendLane<T> {
    pub(super) fn new(max_side_by_side: usize) -> Self {
        Self {
            max_side_by_side,
            in_order: VecDeque::new(),
            side_by_side: VecDeque::new(),
            running_in_order: None,
            running: 0,
            next: 0,
        }
    }

    /// Adds a message behind all others.
    pub(super) fn push(&mut self, order: SendOrder, message: T) {
        let position = self.next;
        self.next += 1;
        match order {
            SendOrder::Serial => self.in_order.push_back((position, message)),
            order => self.side_by_side.push_back((position, order, message)),
        }
    }

    /// Takes the next message that may be sent now. The caller calls [`done`](Self::done) once for it.
    pub(super) fn start(&mut self) -> Option<(SendOrder, T)> {
        if self.running_in_order.is_none()
            && let Some((position, message)) = self.in_order.pop_front()
        {
            self.running_in_order = Some(position);
            return Some((SendOrder::Serial, message));
        }
        // If no serial message is being sent, then none waits either.
        let barrier = self.running_in_order.unwrap_or(u64::MAX);
        let has_room = self.running < self.max_side_by_side;
        let may_go = |(position, order, _): &(u64, SendOrder, T)| {
            *position < barrier && (has_room || *order == SendOrder::Unbounded)
        };
        let at = self.side_by_side.iter().position(may_go)?;
        let (_, order, message) = self.side_by_side.remove(at)?;
        if order == SendOrder::Parallel {
            self.running += 1;
        }
        Some((order, message))
    }

    /// Reports that a message of this order was handled to its end (a request was answered, another message was taken or has
    /// failed), or that later messages no longer wait for a serial one that takes long.
    pub(super) fn done(&mut self, order: SendOrder) {
        match order {
            SendOrder::Serial => self.running_in_order = None,
            SendOrder::Parallel => self.running = self.running.saturating_sub(1),
            SendOrder::Unbounded => {}
        }
    }

    /// Removes the first waiting request for which `is_wanted` is true, so that it is never sent. Serial messages are not among
    /// them, because a client must not cancel `initialize`.
    pub(super) fn remove(&mut self, is_wanted: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.side_by_side.iter().position(|(.., message)| is_wanted(message))?;
        self.side_by_side.remove(at).map(|(.., message)| message)
    }

    /// Removes all messages that wait.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = T> {
        let in_order = std::mem::take(&mut self.in_order).into_iter().map(|(_, message)| message);
        in_order.chain(std::mem::take(&mut self.side_by_side).into_iter().map(|(.., message)| message))
    }

    /// The number of requests that wait, without `initialize`, which is serial.
    pub(super) fn waiting(&self) -> usize {
        self.side_by_side.len()
    }

    /// Whether no message waits, and none is being sent except unbounded ones.
    pub(super) fn is_idle(&self) -> bool {
        self.in_order.is_empty() && self.side_by_side.is_empty() && self.running_in_order.is_none() && self.running == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_waits_for_the_notification_before_it() {
        let mut lane = SendLane::new(2);
        lane.push(SendOrder::Serial, "initialized");
        lane.push(SendOrder::Parallel, "list");
        assert_eq!(lane.start(), Some((SendOrder::Serial, "initialized")));
        assert_eq!(lane.start(), None);
        lane.done(SendOrder::Serial);
        assert_eq!(lane.start(), Some((SendOrder::Parallel, "list")));
        assert!(lane.start().is_none() && !lane.is_idle());
        lane.done(SendOrder::Parallel);
        assert!(lane.is_idle());
    }

    #[test]
    fn a_notification_does_not_wait_for_requests() {
        let mut lane = SendLane::new(1);
        for (order, message) in [
            (SendOrder::Parallel, "a"),
            (SendOrder::Parallel, "b"),
            (SendOrder::Unbounded, "listen"),
            (SendOrder::Serial, "cancel a"),
            (SendOrder::Unbounded, "later"),
        ] {
            lane.push(order, message);
        }
        // A serial message waits for no request, so that it is sent before requests that came earlier and still wait.
        let mut started: Vec<_> = std::iter::from_fn(|| lane.start()).map(|(_, message)| message).collect();
        assert_eq!(started, ["cancel a", "a", "listen"]);
        lane.done(SendOrder::Serial);
        started = std::iter::from_fn(|| lane.start()).map(|(_, message)| message).collect();
        assert_eq!((started, lane.waiting()), (vec!["later"], 1));
        assert_eq!((lane.remove(|message| *message == "b"), lane.remove(|_| true)), (Some("b"), None));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(SendOrder),
        Start,
        Done(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let order = prop_oneof![Just(SendOrder::Serial), Just(SendOrder::Parallel), Just(SendOrder::Unbounded)];
        prop_oneof![order.prop_map(Step::Push), Just(Step::Start), any::<usize>().prop_map(Step::Done)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_overtakes_what_it_waits_for_and_all_go(steps in proptest::collection::vec(step(), 0..80)) {
            let mut lane = SendLane::new(3);
            let (mut pushed, mut ended) = (Vec::new(), BTreeSet::new());
            let (mut running, mut last_in_order): (Vec<(SendOrder, usize)>, _) = (Vec::new(), None);
            let mut all = steps;
            let rest = all.len() * 2;
            all.extend((0..rest).flat_map(|_| [Step::Start, Step::Done(0)]));
            for step in all {
                match step {
                    Step::Push(order) => {
                        lane.push(order, pushed.len());
                        pushed.push(order);
                    }
                    Step::Start => {
                        let Some((order, number)) = lane.start() else { continue };
                        let before = |n: &usize| *n < number && pushed[*n] == SendOrder::Serial;
                        prop_assert!((0..pushed.len()).filter(before).all(|n| ended.contains(&n)));
                        if order == SendOrder::Serial {
                            prop_assert!(last_in_order < Some(number));
                            last_in_order = Some(number);
                        }
                        running.push((order, number));
                        prop_assert!(running.iter().filter(|(order, _)| *order == SendOrder::Parallel).count() <= 3);
                    }
                    Step::Done(_) if running.is_empty() => {}
                    Step::Done(index) => {
                        let (order, number) = running.remove(index % running.len());
                        lane.done(order);
                        ended.insert(number);
                    }
                }
            }
            prop_assert_eq!(ended.len(), pushed.len());
            prop_assert!(lane.is_idle());
        }
    }
}
