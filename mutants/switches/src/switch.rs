//! The switch, which is a module that each mutated crate gets, and the comments around the code that calls it.

/// The environment variable with the number of the mutant that is on.
pub(crate) const SWITCHED: &str = "SWITCHED_MUTANT";
/// The environment variable with the file to which the reached mutants are written, one number a line.
pub(crate) const TRACE: &str = "SWITCH_TRACE";
/// The function that returns whether a mutant is on.
pub(crate) const ON: &str = "crate::mutant_switch::on";

/// The switch of a crate, for a list of `count` mutants.
pub(crate) fn module(count: usize) -> String {
    format!(
        r#"
#[doc(hidden)]
#[allow(warnings)]
pub mod mutant_switch {{
    use std::sync::OnceLock;
    use std::sync::atomic::{{AtomicBool, Ordering}};
    static SETTING: OnceLock<(Option<usize>, Option<std::ffi::OsString>)> = OnceLock::new();
    static SEEN: [AtomicBool; {count}] = [const {{ AtomicBool::new(false) }}; {count}];
    pub fn on(mutant: usize) -> bool {{
        let (switched, trace) = SETTING.get_or_init(|| {{
            (std::env::var("{SWITCHED}").ok().and_then(|it| it.parse().ok()), std::env::var_os("{TRACE}"))
        }});
        if let Some(trace) = trace {{
            if !SEEN[mutant].swap(true, Ordering::Relaxed) {{
                if let Ok(mut file) = std::fs::OpenOptions::new().append(true).create(true).open(trace) {{
                    let _ = std::io::Write::write_all(&mut file, format!("{{mutant}}\n").as_bytes());
                }}
            }}
        }}
        *switched == Some(mutant)
    }}
}}
"#
    )
}

/// The comment before code that chooses between mutants and the original. [`CLOSE`] is the comment after it.
pub(crate) fn open_place(mutants: &[usize]) -> String {
    let numbers: Vec<String> = mutants.iter().map(usize::to_string).collect();
    format!("/*<{}*/", numbers.join(","))
}

/// The code of one mutant alone.
pub(crate) fn branch(mutant: usize, code: &str) -> String {
    format!("/*<={mutant}*/{code}{CLOSE}")
}

pub(crate) const CLOSE: &str = "/*>*/";

/// The mutants to blame for an error of the compiler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The mutant's own code does not compile.
    Branch(usize),
    /// The code that chooses between these mutants does not compile.
    Place(Vec<usize>),
}

/// The innermost place or branch of `text` around the byte `at`.
pub(crate) fn blame(text: &str, at: usize) -> Option<Blame> {
    let mut open = Vec::new();
    for (start, _) in text.match_indices("/*").take_while(|(start, _)| *start <= at) {
        let rest = &text[start..];
        if rest.starts_with(CLOSE) {
            open.pop();
        } else if let Some((mutants, _)) = rest.strip_prefix("/*<").and_then(|it| it.split_once("*/")) {
            open.push(mutants);
        }
    }
    let innermost = open.pop()?;
    Some(match innermost.strip_prefix('=') {
        Some(mutant) => Blame::Branch(mutant.parse().ok()?),
        None => Blame::Place(innermost.split(',').filter_map(|it| it.parse().ok()).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(mutants: &[usize], code: &str) -> String {
        open_place(mutants) + code + CLOSE
    }

    #[test]
    fn an_error_is_blamed_on_the_innermost_code_around_it() {
        let text = format!("fn f() {{ {} }}", place(&[1, 2], &format!("one {} two", branch(2, "three"))));
        let at = |word: &str| blame(&text, text.find(word).expect("a word"));
        assert_eq!(at("one"), Some(Blame::Place(vec![1, 2])));
        assert_eq!(at("three"), Some(Blame::Branch(2)));
        assert_eq!(at("two"), Some(Blame::Place(vec![1, 2])));
        assert_eq!([at("fn f"), blame(&text, text.len())], [None, None]);
    }

    #[test]
    fn other_comments_are_no_places() {
        let text = format!("/* a comment */ {} /* another */ after", place(&[3], "in /* a third */ it"));
        assert_eq!(blame(&text, text.find(" it").expect("it")), Some(Blame::Place(vec![3])));
        assert_eq!(blame(&text, text.find("after").expect("after")), None);
    }
}
