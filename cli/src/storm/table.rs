//! The comparison, as rows of text.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::score::{Chain, Score, Summary};

/// One line of the comparison.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) naive: Value,
    pub(super) kept: Value,
}

/// What stands in it.
pub(super) struct Value {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// How it is to be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Neutral,
}

/// All rows.
pub(super) fn rows(summary: &Summary) -> Vec<Row> {
    let Summary { naive, tokenkeeper: kept, faults, .. } = summary;
    let row = |name, of: &dyn Fn(&Score) -> Value| Row { name, naive: of(naive), kept: of(kept) };
    let mut rows = vec![
        row("token requests", &|score| {
            neutral(count(score.token_requests)).bad_if(score.token_requests > u64::from(score.expiries))
        }),
        row("… at once, at most", &|score| neutral(count(score.most_concurrent)).bad_if(score.most_concurrent > 1)),
        row("spent refresh tokens presented", &|score| neutral(count(score.replays)).bad_if(score.replays > 0)),
        row("callers that failed", &|score| {
            let of = u64::from(score.callers) * u64::from(score.expiries);
            let text = format!("{} of {}", count(score.failed_callers), count(of));
            neutral(text).bad_if(score.failed_callers > 0)
        }),
        row("times a person had to sign in", &|score| neutral(count(score.sign_ins)).bad_if(score.sign_ins > 1)),
        row("chain of refresh tokens", &|score| match score.chain {
            Chain::Alive => Value { text: score.chain.as_str().to_owned(), tone: Tone::Good },
            Chain::Revoked if score.chains_revoked > 1 => {
                neutral(format!("revoked, {} times", count(score.chains_revoked))).bad_if(true)
            }
            Chain::Revoked => neutral(score.chain.as_str().to_owned()).bad_if(true),
        }),
        row("ms over the server's own", &|score| Value {
            text: format!("{:.1}", score.ms_over_server),
            tone: Tone::Neutral,
        }),
    ];
    if *faults {
        rows.insert(
            2,
            row("answers lost with their tokens", &|score| Value {
                text: count(score.answers_lost),
                tone: Tone::Neutral,
            }),
        );
    }
    rows
}

/// The table, without colours.
pub(super) fn table(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["", "naive", "tokenkeeper"]);
    for Row { name, naive, kept } in rows(summary) {
        let number = |value: Value| Cell::new(value.text).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), number(naive), number(kept)]);
    }
    table.to_string()
}

/// 12345 as 12,345.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn neutral(text: String) -> Value {
    Value { text, tone: Tone::Good }
}

impl Value {
    fn bad_if(self, bad: bool) -> Self {
        if bad { Self { tone: Tone::Bad, ..self } } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(["0", "999", "1,000", "12,345,678"], [0, 999, 1000, 12_345_678].map(count).each_ref().map(|c| &**c));
    }
}
