//! The commands that open a page in the person's browser. They are started without a shell.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokenkeeper::ResourceUri;

/// A command that fails within this time has opened no page. The exit status of a browser that ran longer does not matter.
const MOMENT: Duration = Duration::from_secs(5);

/// The place of the address in the words of a command.
const PLACE: &str = "%s";

/// Characters that shells act on. Some openers are shell scripts, and no authorization page needs these characters.
const ACTIVE: &[char] = &['"', '\'', '`', '$', '\\', '<', '>', '|', ';', '(', ')', '{', '}', '*'];

/// Commands that open a page. They are tried in order, until one works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Browser {
    /// The words of each command. No command is empty.
    commands: Vec<Vec<String>>,
}

impl Browser {
    /// The command of `--browser`.
    pub(super) fn named(command: &str) -> Result<Self, &'static str> {
        let words = words(command).ok_or("write a program and its arguments, with quotes in pairs")?;
        Ok(Self { commands: vec![words] })
    }

    /// The commands of `$BROWSER`, separated by colons. `None` if no command can be read.
    pub(super) fn listed(variable: &str) -> Option<Self> {
        let commands: Vec<_> = variable.split(':').filter_map(words).collect();
        (!commands.is_empty()).then_some(Self { commands })
    }

    /// The opener of the operating system.
    pub(super) fn of_system() -> Self {
        let commands: &[&[&str]] = if cfg!(target_os = "macos") {
            &[&["/usr/bin/open"]]
        } else {
            &[&["xdg-open"], &["gio", "open"], &["wslview"]]
        };
        let owned = |words: &&[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self { commands: commands.iter().map(owned).collect() }
    }

    /// Opens `url` on a separate thread, so that the command never waits for a browser. The browser outlives the command.
    /// If no command works, a note asks the person to open the page.
    #[expect(clippy::disallowed_methods, reason = "it waits for a browser, and no request depends on it")]
    pub(super) fn open(&self, url: &str) {
        if !may_be_opened(url) {
            note("the address has characters that no program is given: open it yourself");
            return;
        }
        let commands: Vec<_> = self.commands.iter().map(|words| with_url(words, url)).collect();
        let opening = move || {
            if !commands.iter().any(|words| opens(words)) {
                note("no browser could be started: open the page yourself");
            }
        };
        if std::thread::Builder::new().name("browser".to_owned()).spawn(opening).is_err() {
            note("no browser could be started: open the page yourself");
        }
    }
}

/// Whether `url` may be handed to a program. It is `https`, or `http` on loopback, and harmless to scripts.
fn may_be_opened(url: &str) -> bool {
    let is_web = ResourceUri::parse(url).is_ok_and(|parsed| parsed.is_https() || parsed.is_loopback());
    // The program gets this text, not the parsed URL, so the text itself is checked as well.
    let is_exact = url.starts_with("https://") || url.starts_with("http://");
    is_web && is_exact && url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains(ACTIVE)
}

/// The words of a command, split by the quoting rules of shells. No other syntax of shells has a meaning.
fn words(command: &str) -> Option<Vec<String>> {
    shlex::split(command).filter(|words| words.first().is_some_and(|program| !program.is_empty()))
}

/// The words with the address in place of `%s`, or at the end.
fn with_url(words: &[String], url: &str) -> Vec<String> {
    let (program, arguments) = words.split_at(1);
    let mut words = program.to_vec();
    words.extend(arguments.iter().map(|word| word.replace(PLACE, url)));
    if !arguments.iter().any(|word| word.contains(PLACE)) {
        words.push(url.to_owned());
    }
    words
}

/// Runs a command, and waits for its end. Returns false if it cannot be run, or fails at once.
#[expect(clippy::disallowed_methods, reason = "the age of a browser, for which a suspend does not matter")]
fn opens(words: &[String]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // In its own process group, the browser is not ended by Ctrl-C in the terminal.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let begun = Instant::now();
    let ended = command.spawn().and_then(|mut child| child.wait());
    ended.is_ok_and(|status| status.success() || begun.elapsed() >= MOMENT)
}

fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://as.example/authorize?a=b&c=d%20e";

    /// The words of each command in `$BROWSER`, with the address.
    fn run(variable: &str) -> Vec<Vec<String>> {
        let browser = Browser::listed(variable).map(|browser| browser.commands).unwrap_or_default();
        browser.iter().map(|words| with_url(words, URL)).collect()
    }

    #[test]
    fn a_command_is_words_and_the_address_one_of_them() {
        let cases: &[(&str, &[&[&str]])] = &[
            ("firefox", &[&["firefox", URL]]),
            ("firefox --new-tab %s --x", &[&["firefox", "--new-tab", URL, "--x"]]),
            ("'/opt/my browser/run' --url=%s", &[&["/opt/my browser/run", &format!("--url={URL}")]]),
            ("a:b %s:'c d'", &[&["a", URL], &["b", URL], &["c d", URL]]),
            // An entry that cannot be read is left out.
            ("a 'b:c", &[&["c", URL]]),
            ("'a", &[]),
            (":: :''", &[]),
            ("", &[]),
            // The syntax of shells has no meaning.
            ("firefox ;rm -rf ~", &[&["firefox", ";rm", "-rf", "~", URL]]),
            ("firefox $(id) `id` && x | y > z", &[&["firefox", "$(id)", "`id`", "&&", "x", "|", "y", ">", "z", URL]]),
            // The name of the program is never replaced by the address.
            ("%s", &[&["%s", URL]]),
        ];
        for (variable, expected) in cases {
            let expected: Vec<Vec<String>> =
                expected.iter().map(|words| words.iter().map(|word| (*word).to_owned()).collect()).collect();
            assert_eq!(run(variable), expected, "{variable}");
        }
    }

    #[test]
    fn a_named_command_must_be_readable() {
        assert_eq!(Browser::named("a:b c").unwrap().commands, [["a:b", "c"]]);
        for bad in ["", "  ", "''", "'a", "a \"b"] {
            assert!(Browser::named(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_pages_of_the_web_are_opened() {
        for good in [URL, "http://127.0.0.1:8080/authorize?a=b", "http://[::1]:8080/a", "http://localhost:1/a"] {
            assert!(may_be_opened(good), "{good}");
        }
        for bad in [
            "http://as.example/authorize",
            "http://127.0.0.1.as.example/authorize",
            "http://localhost.as.example/",
            "http://127.0.0.1@as.example/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:text/html,x",
            "HTTPS://as.example/a",
            " https://as.example/a",
            "-https://as.example/a",
            "https://as.example/a b",
            "https://as.example/\u{1b}[2J",
            "https://as.example/\u{e9}",
            "https://as.example/$(id)",
            "https://as.example/`id`",
            "https://as.example/a;id",
            "https://as.example/a'b",
            "https://user:secret@as.example/",
            "",
        ] {
            assert!(!may_be_opened(bad), "{bad}");
        }
    }

    #[test]
    fn a_command_that_fails_at_once_opens_nothing() {
        let opens = |command: &str| opens(&words(command).unwrap());
        assert!(opens("true"));
        assert!(!opens("false"));
        assert!(!opens("/no/such/browser"));
    }
}
