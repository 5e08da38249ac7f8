//! A parser of server-sent events (HTML Living Standard, section 9.2).

use std::time::Duration;

use super::MAX_MESSAGE;

/// The longest pause that a server may ask for. Longer pauses are shortened to this.
const MAX_RETRY: Duration = Duration::from_secs(60);

/// The longest identifier that is remembered, in bytes.
const MAX_ID: usize = 4096;

/// An event is longer than [`MAX_MESSAGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventTooLarge;

/// The parser of one stream. The bytes may arrive in pieces of any length.
#[derive(Debug, Default)]
pub(crate) struct EventParser {
    /// The line that has begun.
    line: Vec<u8>,
    /// The data of the event that has begun, with a line feed after each of its lines.
    data: Vec<u8>,
    /// The identifier of the event that has begun. It counts only once the event has ended, so a stream that breaks within an
    /// event is resumed before that event.
    id: Vec<u8>,
    last_id: Option<Vec<u8>>,
    retry: Option<Duration>,
    /// Whether a carriage return ended the last line. A line feed directly after it then belongs to the same line end.
    is_after_return: bool,
    has_begun: bool,
}

impl EventParser {
    /// The identifier of the last event that has ended, even one without data. `None` if there is no identifier.
    pub(crate) fn last_id(&self) -> Option<&[u8]> {
        self.last_id.as_deref()
    }

    /// The pause before a reconnection that the server asked for.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes bytes of the stream, and returns the data of the events that end in them. Events without data are left out.
    ///
    /// # Errors
    ///
    /// [`EventTooLarge`] if an event is too large. The parser must not be used afterwards.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, EventTooLarge> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            if std::mem::take(&mut self.is_after_return) && bytes.first() == Some(&b'\n') {
                bytes = bytes.get(1..).unwrap_or_default();
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
            if self.data.len() + self.line.len() + part.len() > MAX_MESSAGE {
                return Err(EventTooLarge);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.is_after_return = bytes.get(end) == Some(&b'\r');
            bytes = bytes.get(end + 1..).unwrap_or_default();
            let line = std::mem::take(&mut self.line);
            if let Some(data) = self.end_line(&line) {
                events.push(data);
            }
            // The buffer of a long line is not kept, because streams may be silent for hours.
            if line.capacity() <= MAX_ID {
                self.line = line;
                self.line.clear();
            }
        }
        Ok(events)
    }

    /// Takes a whole line. Returns the data of the event that it ends.
    fn end_line(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        let is_first = !std::mem::replace(&mut self.has_begun, true);
        let line = if is_first { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) } else { line };
        if line.is_empty() {
            if !self.id.is_empty() {
                self.last_id = Some(self.id.clone());
            }
            let mut data = std::mem::take(&mut self.data);
            data.pop();
            return (!data.is_empty()).then_some(data);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"id" if !value.contains(&0) && value.len() <= MAX_ID => self.id = value.to_vec(),
            b"retry" => self.retry = milliseconds(value).or(self.retry),
            _ => {}
        }
        None
    }
}

fn milliseconds(digits: &[u8]) -> Option<Duration> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis = std::str::from_utf8(digits).ok()?.parse().unwrap_or(u64::MAX);
    Some(Duration::from_millis(millis).min(MAX_RETRY))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(bytes: &[u8]) -> (Vec<String>, EventParser) {
        let mut parser = EventParser::default();
        let events = parser.feed(bytes).unwrap();
        (events.into_iter().map(|event| String::from_utf8(event).unwrap()).collect(), parser)
    }

    #[test]
    fn fields_comments_and_line_ends() {
        let (events, parser) = parse(
            b"\xef\xbb\xbfdata: one\r\n\r\n: comment\nevent: message\ndata:two\ndata\ndata:  three\n\nretry: 1500\nid: 7\rdata: x\r\r",
        );
        assert_eq!(events, ["one", "two\n\n three", "x"]);
        assert_eq!((parser.last_id(), parser.retry()), (Some(&b"7"[..]), Some(Duration::from_millis(1500))));
    }

    #[test]
    fn an_identifier_holds_when_its_event_has_ended() {
        let (events, parser) = parse(b"id: 1\ndata:\n\nid: 2\ndata: x\n");
        assert!(events.is_empty());
        assert_eq!(parser.last_id(), Some(&b"1"[..]));
        let (_, parser) = parse(b"id: a\0b\ndata: x\n\nretry: 1x\n\n");
        assert_eq!((parser.last_id(), parser.retry()), (None, None));
        assert_eq!(parse(b"retry: 99999999999999999999\n\n").1.retry(), Some(MAX_RETRY));
    }

    #[test]
    fn an_event_is_bounded() {
        let mut parser = EventParser::default();
        let part = vec![b'a'; 1 << 20];
        let taken = (0..40).take_while(|_| parser.feed(&part).is_ok()).count();
        assert_eq!(taken, 32);
        let mut parser = EventParser::default();
        let mut line = b"data: ".to_vec();
        line.extend(part);
        line.push(b'\n');
        let taken = (0..40).take_while(|_| parser.feed(&line).is_ok()).count();
        assert_eq!(taken, 31);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_split_gives_the_same_events(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("data: a"), Just("data:"), Just("id: 1"), Just("id:"), Just("retry: 5"), Just(":"), Just("\u{feff}"),
                    Just("\n"), Just("\r"), Just("\r\n"), Just("\n\n"), Just("x"), Just(" "),
                ],
                0..40,
            ),
            splits in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = pieces.concat().into_bytes();
            let (whole, one) = parse(&bytes);
            let mut cuts: Vec<usize> = splits.iter().map(|split| split.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let (mut parser, mut events, mut from) = (EventParser::default(), Vec::new(), 0);
            for cut in cuts {
                events.extend(parser.feed(&bytes[from..cut]).unwrap());
                from = cut;
            }
            let events: Vec<_> = events.into_iter().map(|event| String::from_utf8(event).unwrap()).collect();
            prop_assert_eq!(&events, &whole);
            prop_assert_eq!((parser.last_id(), parser.retry()), (one.last_id(), one.retry()));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = EventParser::default().feed(&bytes);
        }
    }
}
