//! Parses a machine's `Debug` text into the values that depend on the frame and the ones that do not.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::hash::{DefaultHasher, Hasher};

use tokenkeeper_actors::law::flight::Flight;
use tokenkeeper_actors::values::{BootId, DigestKey, ElapsedTime, FlightId, KeyedDigest, Revision};

use crate::identity::{Sink, WALL};
use crate::server::Rt;

/// A parsed `Debug` text.
#[derive(Clone, Debug)]
pub(crate) struct Reading(Box<[Token]>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    /// The hash of a piece of text.
    Text(u64),
    Time(u64),
    /// A time whose place among the claims matters.
    Placed(u64),
    Op(u32),
    Flight(u64),
    Boot(u64),
    Revision(u64),
    Number(u64),
    Rt(Rt),
}

/// The refresh tokens of a run, by the beginning of their digests that `Debug` shows.
#[derive(Debug)]
pub(crate) struct Names {
    by_shown: BTreeMap<String, Rt>,
    by_digest: BTreeMap<KeyedDigest, Rt>,
}

impl Names {
    /// The tokens of the first two logins.
    pub(crate) fn new(key: &DigestKey) -> Self {
        let mut names = Self { by_shown: BTreeMap::new(), by_digest: BTreeMap::new() };
        for rt in (0..2).flat_map(|lineage| (0..16).map(move |step| Rt { lineage, step })) {
            let digest = rt.credential(key).digest();
            names.by_shown.insert(format!("{digest:?}"), rt);
            names.by_digest.insert(digest, rt);
        }
        names
    }

    /// The token of a digest.
    pub(crate) fn of(&self, digest: KeyedDigest) -> Option<Rt> {
        self.by_digest.get(&digest).copied()
    }

    /// Whether the shown beginnings of all digests differ.
    #[cfg(test)]
    fn differ(&self) -> bool {
        self.by_shown.len() == self.by_digest.len()
    }
}

impl Reading {
    /// Parses a flight. Leaves out its equipment, which never changes, and its counts of contended claims and of
    /// requests.
    pub(crate) fn of_flight(flight: &Flight, names: &Names) -> Self {
        let text = text(flight);
        let mut reader = Reader { names, tokens: Vec::with_capacity(96), of_mark: false };
        let (kept, _) = sift(&text);
        kept.into_iter().for_each(|piece| reader.read(piece));
        Self(reader.tokens.into())
    }

    /// Parses a value whose `Debug` text shows everything.
    pub(crate) fn of(part: &impl Debug, names: &Names) -> Self {
        let mut reader = Reader { names, tokens: Vec::new(), of_mark: false };
        reader.read(&text(part));
        Self(reader.tokens.into())
    }

    /// Writes the distinguishing values.
    pub(crate) fn put(&self, sink: &mut Sink) {
        for token in &self.0 {
            match *token {
                Token::Text(hash) => sink.plain(hash),
                Token::Time(millis) => sink.time(ElapsedTime::from_millis(millis)),
                Token::Placed(millis) => sink.placed(ElapsedTime::from_millis(millis)),
                Token::Op(op) => sink.op(op),
                Token::Flight(number) => sink.flight(FlightId(number.into())),
                Token::Boot(number) => sink.boot(BootId(number.into())),
                Token::Revision(number) => sink.revision(Revision::new(number)),
                Token::Number(number) => sink.number(number),
                Token::Rt(rt) => sink.rt(rt),
            }
        }
    }
}

/// Splits a flight's text into the pieces to parse and the ones to leave out. The equipment and the counts of contended
/// claims and of requests are left out, each up to the next field.
fn sift(text: &str) -> (Vec<&str>, Vec<&str>) {
    let (mut kept, mut left_out) = (Vec::with_capacity(4), Vec::with_capacity(3));
    let mut rest = text;
    let fields = [(", equipment: ", ", plan: "), (", contentions: ", ", permit: "), (", requests: ", ", repeated: ")];
    for (from, to) in fields {
        if let Some((before, after)) = rest.split_once(from)
            && let Some(end) = after.find(to)
        {
            kept.push(before);
            left_out.push(&after[..end]);
            rest = &after[end..];
        }
    }
    kept.push(rest);
    (kept, left_out)
}

fn text(part: &impl Debug) -> String {
    let mut text = String::with_capacity(4096);
    // Writing to a string does not fail.
    let _ = write!(text, "{part:?}");
    text
}

struct Reader<'a> {
    names: &'a Names,
    tokens: Vec<Token>,
    /// The moment in the text is the time of a mark.
    of_mark: bool,
}

impl Reader<'_> {
    fn read(&mut self, text: &str) {
        let mut done = 0;
        let mut from = 0;
        // A search in bytes is enough, because both characters are ASCII. A check spends most of its time here.
        while let Some(found) = text.as_bytes()[from..].iter().position(|byte| matches!(byte, b'(' | b':')) {
            let at = from + found;
            let (token, end) = if text.as_bytes()[at] == b'(' {
                self.in_brackets(&text[done..at], &text[at + 1..])
            } else {
                after_colon(&text[done..at], &text[at + 1..])
            };
            from = at + 1 + end;
            if end > 0 {
                self.plain(&text[done..=at]);
                self.tokens.extend(token);
                done = from;
            }
        }
        self.plain(&text[done..]);
    }

    fn plain(&mut self, text: &str) {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        self.tokens.push(Token::Text(hasher.finish()));
    }

    /// Parses the token in a bracket that opens after `before`. Returns it with its length in `after`.
    fn in_brackets(&mut self, before: &str, after: &str) -> (Option<Token>, usize) {
        let word = before.rsplit([' ', '(', '{', '[']).next().unwrap_or("");
        if word == "KeyedDigest" {
            let end = after.find(')').unwrap_or(0);
            let token = self.names.by_shown.get(&format!("KeyedDigest({})", &after[..end])).copied();
            return token.map_or((None, 0), |rt| (Some(Token::Rt(rt)), end));
        }
        let Some((number, end)) = digits(after) else { return (None, 0) };
        let token = match word {
            // Skips the whole moment.
            "WallTime" if is_unread(before) => return (None, after.find('}').unwrap_or(end)),
            // Only shown to people, and read by no machine.
            "WallTime" if before.ends_with("signed_in: Some(WallTime") => return (None, end),
            "WallTime" => {
                self.of_mark = before.ends_with("latest: Moment { wall: WallTime");
                Token::Time(number.saturating_sub(WALL))
            }
            "ElapsedTime" if std::mem::take(&mut self.of_mark) || before.ends_with("asked: ElapsedTime") => {
                Token::Placed(number)
            }
            "ElapsedTime" => Token::Time(number),
            "Op" => Token::Op(u32::try_from(number).unwrap_or(u32::MAX)),
            "FlightId" => Token::Flight(number),
            "BootId" => Token::Boot(number),
            "Revision" => Token::Revision(number),
            _ => return (None, 0),
        };
        (Some(token), end)
    }
}

/// Parses the token after a colon that follows `before`. Returns it with its length in `after`.
fn after_colon(before: &str, after: &str) -> (Option<Token>, usize) {
    let skipped = if before.ends_with(" number") {
        1
    } else if before.ends_with(" generation") {
        // A lease shows its epoch and its number with a dot between them.
        1 + digits(&after[1..]).map_or(0, |(_, end)| end + 1)
    } else {
        return (None, 0);
    };
    match after.get(skipped..).and_then(digits) {
        Some((number, end)) => (Some(Token::Number(number)), skipped + end),
        None => (None, 0),
    }
}

/// The number at the start of `text`, and its length.
fn digits(text: &str) -> Option<(u64, usize)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, end))
}

/// Whether nothing reads the moment that begins here.
fn is_unread(before: &str) -> bool {
    let Some(before) = before.strip_suffix(": Moment { wall: WallTime") else { return false };
    ["since", "first", "anchored", "at"].iter().any(|field| before.ends_with(field))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokenkeeper_actors::law::flight::{Adopt, Op, Order, Urgency};
    use tokenkeeper_actors::law::profile::Reuse;
    use tokenkeeper_actors::values::{
        Cause, Epoch, Generation, Moment, Nonce, RefreshToken, RenewalPlan, Validity, WallTime,
    };

    use super::*;
    use crate::bounds::Bounds;
    use crate::config::{Claims, Config};
    use crate::identity::{Frame, Key, boot, flight, key};

    const FRAME: Frame = Frame { now: 9_000, ops: 7, revision: 5, number: 5, steps: [Some(3), None], asks: [None; 6] };

    fn digests() -> DigestKey {
        DigestKey::new([7; 32])
    }

    fn seen(part: &impl Debug, frame: Frame) -> Key {
        let reading = Reading::of(part, &Names::new(&digests()));
        key(frame, |sink| reading.put(sink))
    }

    fn moment(millis: u64, process: usize) -> Moment {
        let (wall, elapsed) = (WallTime::from_millis(WALL + millis), ElapsedTime::from_millis(millis));
        Moment { wall, elapsed, boot: boot(process, true) }
    }

    #[test]
    fn no_two_tokens_look_alike() {
        assert!(Names::new(&digests()).differ());
    }

    /// If the order of a flight's fields changes, no further field may drop out of its key.
    #[test]
    fn only_the_equipment_and_two_counts_of_a_flight_are_left_out() {
        let equipment = Arc::new(Config::new(Reuse::EndsLineage, Claims::Kernel, Bounds::CALM).equipment());
        let order = Order {
            flight: flight(0, 1),
            cause: Cause::Expiry,
            epoch: Epoch::new(1),
            adopt: Adopt::Since { since: Moment::default(), margin: std::time::Duration::ZERO },
            issuer: None,
            renewal: RenewalPlan::default(),
            known: Generation::default(),
            nonce: Nonce(1),
            doubt: None,
            urgency: Urgency::Callers,
        };
        let (flight, _) = Flight::start(order, Arc::clone(&equipment));
        let text = text(&flight);
        let (kept, left_out) = sift(&text);
        assert_eq!(left_out, [format!("{equipment:?}").as_str(), "0", "0"]);
        assert_eq!(kept.len(), 4);
    }

    #[test]
    fn times_count_in_seconds_from_now_and_old_ones_are_one() {
        let at = |millis, now| seen(&(1, moment(millis, 0), "x"), Frame { now, ..FRAME });
        assert_eq!(at(5_000, 10_000), at(105_000, 110_000));
        assert_eq!(at(5_000, 10_003), at(5_002, 10_003));
        assert_ne!(at(5_000, 10_000), at(6_000, 10_000));
        assert_eq!(at(5_000, 105_000), at(5_000, 900_000));
        assert_ne!(at(5_000, 104_000), at(5_000, 105_000));
        assert_ne!(at(20_000, 10_000), at(21_000, 10_000));
    }

    #[test]
    fn operations_revisions_and_numbers_count_from_the_newest() {
        assert_eq!(seen(&Op(5), FRAME), seen(&Op(6), Frame { ops: 8, ..FRAME }));
        assert_ne!(seen(&Op(5), FRAME), seen(&Op(6), FRAME));
        assert_eq!(seen(&Revision::new(4), FRAME), seen(&Revision::new(5), Frame { revision: 6, ..FRAME }));
        assert_ne!(seen(&Revision::new(4), FRAME), seen(&Revision::new(5), FRAME));
        let generation = |number| Generation::stored(Epoch::new(1), number);
        assert_eq!(seen(&generation(4), FRAME), seen(&generation(5), Frame { number: 6, ..FRAME }));
        assert_ne!(seen(&generation(4), FRAME), seen(&generation(5), FRAME));
    }

    #[test]
    fn the_anchor_of_a_validity_is_left_out_and_what_follows_is_not() {
        let at = |millis, after: u8| seen(&(Validity::new(moment(millis, 0), None), after), FRAME);
        assert_eq!(at(1_000, 1), at(2_000, 1));
        assert_ne!(at(1_000, 1), at(1_000, 2));
    }

    #[test]
    fn tokens_count_from_the_one_that_works() {
        let digest = |lineage, step| Rt { lineage, step }.credential(&digests()).digest();
        let later = Frame { steps: [Some(4), None], ..FRAME };
        assert_eq!(seen(&digest(0, 2), FRAME), seen(&digest(0, 3), later));
        assert_ne!(seen(&digest(0, 2), FRAME), seen(&digest(0, 3), FRAME));
        assert_eq!(seen(&digest(1, 0), FRAME), seen(&digest(1, 1), FRAME), "nobody can come upon these any more");
        let foreign = digests().digest(&RefreshToken::new("foreign"));
        assert_ne!(seen(&foreign, FRAME), seen(&digest(0, 2), FRAME));
    }

    #[test]
    fn exchanged_names_make_exchanged_keys() {
        let one = seen(&(flight(0, 2), moment(1, 0)), FRAME);
        let two = seen(&(flight(1, 2), moment(1, 1)), FRAME);
        assert_eq!(one, [two[1], two[0]]);
        assert_ne!(one[0], one[1]);
    }
}
