//! The results of a workload, as an aligned table and as JSON.
use serde_json::{Value, json};
use std::{fmt::Write as _, path::Path};

/// One figure for each turn of a peer.
#[derive(Clone, Debug, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn add(&mut self, figure: f64) {
        self.0.push(figure);
    }
    pub fn turns(&self) -> usize {
        self.0.len()
    }
    pub fn median(&self) -> f64 {
        median(&self.0)
    }
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
    /// How this spread compares with `other`. They differ only if their ranges do not overlap. The ranges of one or two
    /// turns often miss each other by chance, and carry no comparison.
    fn against(&self, other: &Self) -> &'static str {
        if self.turns().min(other.turns()) < 3 {
            "too few turns"
        } else if self.max() < other.min() {
            "lower"
        } else if self.min() > other.max() {
            "higher"
        } else {
            "overlaps"
        }
    }
}

/// The middle figure, or the mean of the two in the middle.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// The cell of a row.
pub enum Cell {
    Text(String),
    Whole(i64),
    /// A figure with this many decimals.
    Figure(f64, usize),
    /// The smallest and the greatest count of the turns.
    Span(u64, u64),
    Spread(Spread, usize),
}

impl Cell {
    pub fn span(counts: &[u64]) -> Self {
        Cell::Span(counts.iter().copied().min().unwrap_or(0), counts.iter().copied().max().unwrap_or(0))
    }

    /// The comparison of `spread` with that of the peer `--against`.
    pub fn against(spread: &Spread, other: Option<&Spread>) -> Self {
        Cell::Text(other.map_or("-", |other| spread.against(other)).into())
    }

    fn text(&self) -> String {
        match self {
            Cell::Text(text) => text.replace('|', "/"),
            Cell::Whole(n) => n.to_string(),
            Cell::Figure(n, decimals) => format!("{n:.decimals$}"),
            Cell::Span(a, b) if a == b => a.to_string(),
            Cell::Span(a, b) => format!("{a}..{b}"),
            Cell::Spread(s, _) if s.turns() == 0 => "-".into(),
            Cell::Spread(s, d) if s.turns() == 1 => format!("{:.d$} (1 turn)", s.median()),
            Cell::Spread(s, d) => format!("{:.d$} ({:.d$}..{:.d$})", s.median(), s.min(), s.max()),
        }
    }

    fn is_numeric(&self) -> bool {
        !matches!(self, Cell::Text(_))
    }

    fn json(&self) -> Value {
        match self {
            Cell::Text(text) => json!(text),
            Cell::Whole(n) => json!(n),
            Cell::Figure(n, _) => json!(n),
            Cell::Span(a, b) => json!({"min": a, "max": b}),
            Cell::Spread(s, _) if s.turns() == 0 => Value::Null,
            Cell::Spread(s, _) => json!({"median": s.median(), "min": s.min(), "max": s.max(), "turns": s.0}),
        }
    }
}

pub struct Report {
    workload: &'static str,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
    notes: Vec<String>,
    load_before: String,
}

impl Report {
    /// Begins a report, before the workload runs. It notes the load of the machine then.
    pub fn new<const N: usize>(workload: &'static str, columns: [&str; N]) -> Self {
        let columns = columns.map(String::from).into();
        Self { workload, columns, rows: vec![], notes: vec![], load_before: load() }
    }

    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        assert_eq!(N, self.columns.len());
        self.rows.push(cells.into());
    }

    /// A sentence below the table.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Prints the table, and writes the JSON if there is a file for it.
    pub fn publish(mut self, file: Option<&Path>) {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let after = load();
        self.note(format!("{cores} cores; load of the machine {} before, {after} after.", self.load_before));
        print!("{}", self.table());
        if let Some(file) = file {
            let rows: Vec<Value> = self
                .rows
                .iter()
                .map(|row| self.columns.iter().zip(row).map(|(name, cell)| (name.clone(), cell.json())).collect())
                .collect();
            let all = json!({
                "workload": self.workload,
                "cores": cores,
                "load_before": self.load_before,
                "load_after": after,
                "rows": rows,
                "notes": self.notes,
            });
            std::fs::write(file, format!("{all:#}\n")).expect("the JSON file can be written");
        }
    }

    /// A Markdown table whose columns are aligned.
    fn table(&self) -> String {
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Cell::text).collect()).collect();
        let numeric = |i: usize| self.rows.first().is_some_and(|row| row[i].is_numeric());
        let width = |i: usize| {
            let column = cells.iter().map(|row| row[i].chars().count());
            column.chain([self.columns[i].chars().count(), 3]).max().unwrap_or(3)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut table = String::new();
        let mut line = |row: &[String]| {
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match numeric(i) {
                    true => write!(table, "| {cell:>width$} "),
                    false => write!(table, "| {cell:<width$} "),
                };
            }
            table += "|\n";
        };
        line(&self.columns);
        let rule = |(i, width): (usize, &usize)| match numeric(i) {
            true => format!("{}:", "-".repeat(width - 1)),
            false => "-".repeat(*width),
        };
        line(&widths.iter().enumerate().map(rule).collect::<Vec<_>>());
        cells.iter().for_each(|row| line(row));
        table.push('\n');
        for note in &self.notes {
            table += &wrapped(note);
        }
        table
    }
}

/// A list item in lines of at most 120 characters, if its words allow that.
fn wrapped(note: &str) -> String {
    let (mut item, mut width) = (String::from("-"), 1);
    for word in note.split(' ') {
        let length = word.chars().count();
        if width + 1 + length > 120 {
            item += "\n ";
            width = 1;
        }
        item.push(' ');
        item += word;
        width += 1 + length;
    }
    item.push('\n');
    item
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// The version of `package` that this harness is built with.
pub fn version(package: &str) -> Option<&'static str> {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let (_, from) = include_str!("../Cargo.lock").split_once(&*entry)?;
    from.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(turns: &[f64]) -> Spread {
        Spread(turns.to_vec())
    }

    #[test]
    fn spreads_differ_only_if_their_ranges_do_not_overlap() {
        let other = spread(&[4.0, 5.0, 6.0]);
        assert_eq!(spread(&[1.0, 2.0, 3.9]).against(&other), "lower");
        assert_eq!(spread(&[6.1, 9.0, 7.0]).against(&other), "higher");
        assert_eq!(spread(&[1.0, 1.1, 4.0]).against(&other), "overlaps");
        assert_eq!(spread(&[4.5, 4.6, 4.7]).against(&other), "overlaps");
        assert_eq!(spread(&[1.0, 1.1]).against(&other), "too few turns");
    }

    #[test]
    fn the_median_does_not_depend_on_the_order_of_the_turns() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn columns_are_aligned() {
        let mut report = Report::new("test", ["peer", "ms"]);
        report.row([Cell::Text("a | b".into()), Cell::Spread(spread(&[10.0, 30.0, 20.0]), 1)]);
        report.row([Cell::Text("c".into()), Cell::Spread(spread(&[1.0]), 1)]);
        let expected = "\
| peer  |                ms |
| ----- | ----------------: |
| a / b | 20.0 (10.0..30.0) |
| c     |      1.0 (1 turn) |

";
        assert_eq!(report.table(), expected);
    }

    #[test]
    fn notes_are_wrapped() {
        let item = wrapped(&["word"; 60].join(" "));
        assert!(item.lines().all(|line| line.len() <= 120), "{item}");
        assert_eq!(item.split_whitespace().count(), 61);
        assert!(item.starts_with("- word ") && item.lines().skip(1).all(|line| line.starts_with("  word")), "{item}");
    }

    #[test]
    fn versions_are_those_of_the_lock_file() {
        assert_eq!(version("peers"), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(version("no-such-package"), None);
    }
}
