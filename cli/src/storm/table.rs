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
            judged(count(score.token_requests), score.token_requests <= u64::from(score.expiries))
        }),
        row("… at once, at most", &|score| judged(count(score.most_concurrent), score.most_concurrent <= 1)),
        row("spent refresh tokens presented", &|score| judged(count(score.replays), score.replays == 0)),
        row("callers that failed", &|score| {
            let of = u64::from(score.callers) * u64::from(score.expiries);
            judged(format!("{} of {}", count(score.failed_callers), count(of)), score.failed_callers == 0)
        }),
        row("times a person had to sign in", &|score| judged(count(score.sign_ins), score.sign_ins == 1)),
        row("chain of refresh tokens", &|score| {
            let times = if score.chains_revoked > 1 {
                format!(", {} times", count(score.chains_revoked))
            } else {
                String::new()
            };
            judged(format!("{}{times}", score.chain.as_str()), score.chain == Chain::Alive)
        }),
        row("ms over the server's own", &|score| plain(format!("{:.1}", score.ms_over_server))),
    ];
    if *faults {
        rows.insert(2, row("answers lost with their tokens", &|score| plain(count(score.answers_lost))));
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

fn plain(text: String) -> Value {
    Value { text, tone: Tone::Neutral }
}

fn judged(text: String, good: bool) -> Value {
    Value { text, tone: if good { Tone::Good } else { Tone::Bad } }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(["0", "999", "1,000", "12,345,678"], [0, 999, 1000, 12_345_678].map(count).each_ref().map(|c| &**c));
    }
}
