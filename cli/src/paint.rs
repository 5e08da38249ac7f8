//! Colours for terminals that support them.

use std::io::{self, Write};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const PLAIN: Style = Style::new();

/// The text in this style. [`print`] strips the style where the output has no colours.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes `text`, with its colours if standard output supports them. `NO_COLOR`, pipes and plain terminals get none
/// (no-color.org).
pub(crate) fn print(out: &mut impl Write, text: &str) -> io::Result<()> {
    match anstream::AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => write!(out, "{}", anstream::adapter::strip_str(text)),
        _ => out.write_all(text.as_bytes()),
    }
}
