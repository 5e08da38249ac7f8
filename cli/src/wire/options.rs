//! The headers that a person adds to each request.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::failure::Failure;

/// The longest file of headers, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The headers that the wire itself sets, or that change the meaning of its requests.
const RESERVED: [&str; 15] = [
    "authorization",
    "dpop",
    "proxy-authorization",
    "host",
    "accept",
    "accept-encoding",
    "content-type",
    "content-length",
    "content-encoding",
    "connection",
    "transfer-encoding",
    "te",
    "upgrade",
    "last-event-id",
    "cookie",
];

/// The headers of `--header` and `--header-file`. Values are sensitive, and no error repeats one.
pub(crate) fn headers(named: &[String], files: &[std::path::PathBuf]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for file in files {
        let text = read(file)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            add(&mut headers, line, "--header-file")?;
        }
    }
    for header in named {
        add(&mut headers, header, "--header")?;
    }
    Ok(headers)
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let length = File::open(file).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    match length {
        Ok(length) if length as u64 <= MAX_FILE => Ok(text),
        Ok(_) => Err(Failure::Usage(format!("--header-file: {} is too long", file.display()))),
        Err(error) => Err(Failure::Usage(format!("--header-file: {}: {error}", file.display()))),
    }
}

fn add(headers: &mut HeaderMap, header: &str, option: &str) -> Result<(), Failure> {
    let usage = |why: String| Failure::Usage(format!("{option}: {why}"));
    let (name, value) = header.split_once(':').ok_or_else(|| usage("write it as NAME:VALUE".to_owned()))?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| usage("the name is not that of a header".to_owned()))?;
    if name == "authorization" {
        return Err(usage(
            "tokenkeeper sets Authorization itself: sign in with tokenkeeper login, or import the login".to_owned(),
        ));
    }
    if RESERVED.contains(&name.as_str()) || name.as_str().starts_with("mcp-") {
        return Err(usage(format!("tokenkeeper sets {name} itself")));
    }
    let value = expanded(value.trim(), |name| env::var(name).ok()).map_err(usage)?;
    let value = HeaderValue::try_from(value);
    let mut value = value.map_err(|_| usage(format!("the value of {name} has characters that no header has")))?;
    value.set_sensitive(true);
    headers.append(name, value);
    Ok(())
}

/// The text with the values of environment variables in the places of `${NAME}`.
fn expanded(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("a ${ has no }")?;
        expanded.push_str(before);
        expanded.push_str(&value(name).ok_or_else(|| format!("the environment variable {name} is not set"))?);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn variables_are_expanded() {
        let value = |name: &str| (name == "KEY").then(|| "s3cret".to_owned());
        assert_eq!(expanded("a ${KEY}-${KEY}$", value).unwrap(), "a s3cret-s3cret$");
        assert_eq!(expanded("$KEY {KEY}", value).unwrap(), "$KEY {KEY}");
        assert!(expanded("${OTHER}", value).unwrap_err().contains("OTHER") && expanded("${KEY", value).is_err());
    }

    #[test]
    fn headers_come_from_arguments_and_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"# comment\n\nX-Key: from file\r\nX-Two:2\n").unwrap();
        let named = ["x-key:from argument".to_owned()];
        let headers = headers(&named, &[file.path().to_owned()]).unwrap();
        let values: Vec<_> = headers.get_all("x-key").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!((values, headers.len()), (vec!["from file", "from argument"], 3));
        assert!(!format!("{headers:?}").contains("from"));
    }

    #[test]
    fn headers_of_the_wire_are_refused_and_no_value_is_repeated() {
        for header in ["Authorization: Bearer s3cret", "Mcp-Session-Id:s3cret", "s3cret", "a b:s3cret", "x:s3cret\u{1}"]
        {
            let error = headers(&[header.to_owned()], &[]).unwrap_err().to_string();
            assert!(error.starts_with("--header: ") && !error.contains("s3cret"), "{error}");
        }
        assert!(headers(&[], &["/no/such/file".into()]).is_err());
    }
}
