//! A person's browser, as far as a login needs one.

use std::io::{Error, ErrorKind, Result};

use bytes::BytesMut;
use form_urlencoded::{Serializer, parse};
use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::settings::Consent;

/// The most redirects that are followed.
const HOPS: usize = 5;

/// The maximum size of an answer.
const MOST: usize = 1 << 20;

/// A browser that runs no scripts and keeps no cookies. It speaks plain HTTP only, to servers on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Browser;

/// The page at which a browser has arrived.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visit {
    /// The status of the last answer.
    pub status: u16,
    /// Its body.
    pub page: String,
    /// The address of another origin to which that answer redirects. It is the client's callback, and was not requested.
    pub callback: Option<String>,
    /// The address of the page.
    pub url: String,
}

impl Browser {
    /// Opens an authorization URL, and follows redirects until they lead to another origin, which is the client's.
    ///
    /// # Errors
    ///
    /// If the URL is not plain HTTP, or its server cannot be reached or read, or there are more than five redirects.
    pub async fn open(url: &str) -> Result<Visit> {
        follow(url, "GET", "").await
    }

    /// Opens an authorization URL like [`open`](Self::open), and requests the client's callback if there is one. Returns
    /// the page that the client shows.
    ///
    /// # Errors
    ///
    /// See [`open`](Self::open).
    pub async fn complete(url: &str) -> Result<Visit> {
        let visit = Self::open(url).await?;
        if visit.callback.is_some() { visit.deliver().await } else { Ok(visit) }
    }
}

impl Visit {
    /// A parameter of the callback.
    pub fn query(&self, name: &str) -> Option<String> {
        self.queries().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All parameters of the callback, in their order.
    pub fn queries(&self) -> Vec<(String, String)> {
        let query = self.callback.as_deref().and_then(|url| url.split_once('?')).map_or("", |(_, query)| query);
        parse(query.as_bytes()).into_owned().collect()
    }

    /// Requests the client's callback, as a browser does that follows the redirect.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] without a callback, and see [`Browser::open`].
    pub async fn deliver(&self) -> Result<Visit> {
        let callback = self.callback.as_deref().ok_or_else(|| Error::from(ErrorKind::NotFound))?;
        Browser::open(callback).await
    }

    /// Presses a button of a page of consent, or of one for a device.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the page has no buttons, and see [`Browser::open`].
    pub async fn press(&self, button: Consent) -> Result<Visit> {
        let value = |start: &str| {
            let (_, rest) = self.page.split_once(start)?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let action = value("action=\"").ok_or_else(|| Error::from(ErrorKind::NotFound))?;
        let mut form = Serializer::new(String::new());
        for name in ["ticket", "user_code"] {
            if let Some(value) = value(&format!("name=\"{name}\" value=\"")) {
                form.append_pair(name, &value);
            }
        }
        form.append_pair("answer", if button == Consent::Allow { "allow" } else { "deny" });
        let url = absolute(&self.url, &action)?;
        follow(&url, "POST", &form.finish()).await
    }
}

async fn follow(url: &str, method: &str, body: &str) -> Result<Visit> {
    let (mut url, mut method, mut body) = (url.to_owned(), method, body);
    for _ in 0..=HOPS {
        let (status, location, page) = request(&url, method, body).await?;
        let Some(location) = location else { return Ok(Visit { status, page, callback: None, url }) };
        let next = absolute(&url, &location)?;
        if origin(&next) != origin(&url) {
            return Ok(Visit { status, page, callback: Some(next), url });
        }
        (url, method, body) = (next, "GET", "");
    }
    Err(Error::new(ErrorKind::InvalidData, "too many redirects"))
}

/// One request on its own connection. Returns the status, the target of a redirect, and the body.
async fn request(url: &str, method: &str, body: &str) -> Result<(u16, Option<String>, String)> {
    let invalid = |text: &str| Error::new(ErrorKind::InvalidInput, text.to_owned());
    let uri: Uri = url.parse().map_err(|_| invalid("not a URL"))?;
    let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(invalid("not plain HTTP"));
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let mut stream = TcpStream::connect((host, authority.port_u16().unwrap_or(80))).await?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\naccept: text/html\r\n");
    if method == "POST" {
        head.push_str("content-type: application/x-www-form-urlencoded\r\n");
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).await?;
    let mut answer = BytesMut::new();
    while answer.len() < MOST && stream.read_buf(&mut answer).await? > 0 {}
    read(&answer).ok_or_else(|| Error::new(ErrorKind::InvalidData, "not an answer"))
}

fn read(answer: &[u8]) -> Option<(u16, Option<String>, String)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(length)) = response.parse(answer) else { return None };
    let status = response.code?;
    let is_location = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("location");
    let location = response.headers.iter().find(is_location).filter(|_| (300..400).contains(&status));
    let location = location.map(|header| String::from_utf8_lossy(header.value).into_owned());
    Some((status, location, String::from_utf8_lossy(&answer[length..]).into_owned()))
}

/// The target of a redirect, which may be a path.
fn absolute(base: &str, target: &str) -> Result<String> {
    if !target.starts_with('/') {
        return Ok(target.to_owned());
    }
    let origin = origin(base).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "not a URL"))?;
    Ok(format!("{origin}{target}"))
}

/// The scheme, host and port of a URL.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    Some(format!("{scheme}://{}", rest.split(['/', '?', '#']).next()?))
}
