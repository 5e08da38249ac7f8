//! The comparison as rows of text.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};

use super::arguments::Faults;
use super::score::{ChainState, ContestScore, StormSummary};
use crate::text::count;

/// A row of the comparison.
pub(super) struct ScoreRow {
    pub(super) name: &'static str,
    pub(super) naive: ScoreCell,
    pub(super) tokenkeeper: ScoreCell,
}

/// A value of the comparison.
pub(super) struct ScoreCell {
    pub(super) text: String,
    pub(super) tone: Tone,
}

/// Whether a value is good.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Neutral,
}

/// All rows.
pub(super) fn rows(summary: &StormSummary) -> Vec<ScoreRow> {
    let StormSummary { naive, tokenkeeper, faults, .. } = summary;
    let row = |name, cell: &dyn Fn(&ContestScore) -> ScoreCell| ScoreRow {
        name,
        naive: cell(naive),
        tokenkeeper: cell(tokenkeeper),
    };
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
            judged(format!("{}{times}", score.chain.as_str()), score.chain == ChainState::Alive)
        }),
        row("ms over the server's own", &|score| neutral(format!("{:.1}", score.ms_over_server))),
    ];
    match faults {
        Some(Faults::Any) => {
            rows.insert(2, row("answers lost with their tokens", &|score| neutral(count(score.answers_lost))));
        }
        Some(Faults::Passing) => rows.insert(2, row("faults", &|score| neutral(count(score.faults)))),
        None => {}
    }
    rows
}

/// The table, without colours.
pub(super) fn table(summary: &StormSummary) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(["", "naive", "tokenkeeper"]);
    for ScoreRow { name, naive, tokenkeeper } in rows(summary) {
        let number = |cell: ScoreCell| Cell::new(cell.text).set_alignment(CellAlignment::Right);
        table.add_row([Cell::new(name), number(naive), number(tokenkeeper)]);
    }
    table.to_string()
}

fn neutral(text: String) -> ScoreCell {
    ScoreCell { text, tone: Tone::Neutral }
}

fn judged(text: String, good: bool) -> ScoreCell {
    ScoreCell { text, tone: if good { Tone::Good } else { Tone::Bad } }
}
