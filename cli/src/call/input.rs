//! The parameters of a call.

use std::fs::File;
use std::io::{self, Read};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::wire::MAX_MESSAGE;

/// The parameters of a call, as JSON members. The arguments are kept as the person's own text, so that large numbers do not
/// change.
#[derive(Clone, Debug)]
pub(super) struct CallInput(String);

impl CallInput {
    /// Reads `arguments`, which are JSON, or `@FILE`, or `-` for standard input. `is_taken` states that standard input contains
    /// the server's name instead.
    pub(super) fn read(tool: &str, arguments: Option<&str>, is_taken: bool) -> Result<Self, Failure> {
        let text = match arguments {
            None => "{}".to_owned(),
            Some("-") if is_taken => {
                return Err(Failure::Usage(
                    "standard input has the server's URL already: give the arguments as JSON or @FILE".to_owned(),
                ));
            }
            Some("-") => read(io::stdin().lock(), "standard input")?,
            Some(text) => match text.strip_prefix('@') {
                Some(path) => {
                    let file = File::open(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))?;
                    read(file, path)?
                }
                None => text.to_owned(),
            },
        };
        let text = text.trim_start_matches('\u{feff}').trim();
        // The error names the position and no part of the text, which may contain secrets.
        let json: &RawValue = serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Failure::Usage(format!("the arguments are not JSON (line {line}, column {column})"))
        })?;
        if !json.get().starts_with('{') {
            return Err(Failure::Usage(
                "the arguments are not a JSON object, such as {\"query\": \"rust\"}".to_owned(),
            ));
        }
        Ok(Self(format!(r#""name":{},"arguments":{}"#, Value::from(tool), json.get())))
    }

    /// The members of the parameters, without the braces around them.
    pub(super) fn members(&self) -> &str {
        &self.0
    }
}

fn read(source: impl Read, name: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let length = source.take(MAX_MESSAGE as u64 + 1).read_to_string(&mut text);
    match length {
        Ok(length) if length <= MAX_MESSAGE => Ok(text),
        Ok(_) => Err(Failure::Usage(format!("{name} has more than 32 MiB"))),
        Err(error) => Err(Failure::Usage(format!("{name}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn arguments_stay_as_they_are() {
        let members = |arguments| CallInput::read("a \"b\"", arguments, false).unwrap().0;
        assert_eq!(members(None), r#""name":"a \"b\"","arguments":{}"#);
        let large = r#"{"n": 123456789012345678901234567890, "x":1.0}"#;
        assert_eq!(members(Some(large)), format!(r#""name":"a \"b\"","arguments":{large}"#));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"\xef\xbb\xbf {\"a\":1}\r\n").unwrap();
        let path = format!("@{}", file.path().display());
        assert_eq!(members(Some(&path)), r#""name":"a \"b\"","arguments":{"a":1}"#);
    }

    #[test]
    fn anything_but_an_object_is_refused_without_repeating_it() {
        for arguments in ["[1]", "\"s3cret\"", "s3cret", "{\"a\":s3cret}", "", "{}{}", "@/no/such/file"] {
            let error = CallInput::read("t", Some(arguments), false).unwrap_err();
            assert!(matches!(&error, Failure::Usage(told) if !told.contains("s3cret")), "{arguments}: {error}");
        }
        assert!(matches!(CallInput::read("t", Some("-"), true), Err(Failure::Usage(_))));
    }
}
