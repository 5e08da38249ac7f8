//! The reports of a login on standard output.

use std::io::{self, Write};

use serde_json::json;
use tokenkeeper::engine::values::WallTime;
use tokenkeeper::engine::values::record::Record;
use tokenkeeper::{Account, LoggedIn, OfferedPrompt, Prompt, Scopes, ServerIdentity};

use crate::failure::Failure;
use crate::paint::{harmless, print_json};
use crate::renewal::Renewal;
use crate::{when, who};

/// Prints that a person is asked, as one line of JSON.
pub(super) fn asked(out: &mut impl Write, prompt: &Prompt) -> io::Result<()> {
    let (way, url, complete) = match &prompt.prompt {
        OfferedPrompt::Browser { url } => ("page", url.as_str(), None),
        OfferedPrompt::Device { url, complete, .. } => {
            ("device", url.as_str(), complete.as_ref().map(|complete| complete.as_str()))
        }
        _ => return Ok(()),
    };
    let object = json!({
        "event": "prompt",
        "server": who::server(&prompt.identity),
        "account": prompt.identity.account().as_str(),
        "way": way,
        "url": url,
        "complete_url": complete,
        "user_code": prompt.user_code(),
        "takes_paste": prompt.takes_paste,
        "expires_at": when::stamp(prompt.expires),
    });
    print_json(out, &object)?;
    // A program must get this line while the command still waits.
    out.flush()
}

/// Prints the reason why no session was stored, as one line of JSON.
pub(super) fn failed(out: &mut impl Write, identity: &ServerIdentity, reason: &str, text: &str) -> io::Result<()> {
    let object = json!({
        "event": "failed",
        "server": who::server(identity),
        "account": identity.account().as_str(),
        "reason": reason,
        "advice": text,
    });
    print_json(out, &object)
}

/// A session that is signed in, as its record shows it.
#[derive(Debug)]
pub(super) struct SignedIn {
    how: LoggedIn,
    issuer: Option<String>,
    subject: Option<String>,
    requested: Scopes,
    granted: Scopes,
    generation: Option<String>,
    expires: Option<WallTime>,
    renewal: Option<Renewal>,
    is_bound: bool,
}

impl SignedIn {
    pub(super) fn of(record: Option<&Record>, how: LoggedIn) -> Self {
        let grant = record.and_then(Record::grant);
        let validity = grant.and_then(|grant| grant.access.as_ref()).map(|access| access.validity);
        Self {
            how,
            issuer: grant.map(|grant| grant.binding.issuer.0.clone()),
            subject: grant.and_then(|grant| Some(grant.subject.as_ref()?.0.clone())),
            requested: grant.map(|grant| grant.requested.clone()).unwrap_or_default(),
            granted: grant.map(|grant| grant.granted.clone()).unwrap_or_default(),
            generation: record.and_then(|record| Some(record.view().lease?.generation().to_string())),
            expires: validity.and_then(|validity| Some(validity.anchored().wall.after(validity.lifetime()?))),
            renewal: record.and_then(Renewal::of),
            is_bound: grant.is_some_and(|grant| grant.dpop_key.is_some()),
        }
    }

    /// Shows the session, as one line of JSON if `json`, and notes for a person.
    pub(super) fn show(
        &self,
        out: &mut impl Write,
        identity: &ServerIdentity,
        json: bool,
        now: WallTime,
    ) -> Result<(), Failure> {
        for note in self.notes() {
            let _ = writeln!(io::stderr(), "note: {note}");
        }
        match json {
            true => self.print_json(out, identity)?,
            false => self.print(out, identity, now)?,
        }
        Ok(())
    }

    /// The notes for a person, each a line.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.how == LoggedIn::Already {
            notes.push("the session was signed in already; --again signs in anew".to_owned());
        }
        let declined: Vec<_> =
            self.requested.iter().filter(|scope| self.granted.iter().all(|granted| granted != *scope)).collect();
        if !self.granted.is_empty() && !declined.is_empty() {
            notes.push(format!("these scopes were not granted: {}", harmless(&declined.join(" "))));
        }
        if self.renewal.is_none() && self.issuer.is_some() {
            notes.push("there is no refresh token, so the session ends with its access token".to_owned());
        }
        notes
    }

    /// Prints one line for people.
    fn print(&self, out: &mut impl Write, identity: &ServerIdentity, now: WallTime) -> io::Result<()> {
        let mut line = format!("signed in to {}", name(identity));
        if let Some(subject) = &self.subject {
            line.push_str(&format!(" as {}", harmless(subject)));
        }
        if let Some(issuer) = &self.issuer {
            line.push_str(&format!(" at {}", harmless(issuer)));
        }
        if !self.granted.is_empty() {
            let scopes: Vec<_> = self.granted.iter().collect();
            line.push_str(&format!(", scopes {}", harmless(&scopes.join(" "))));
        }
        if let Some(renewal) = self.renewal.as_ref().filter(|renewal| renewal.is_unusual()) {
            line.push_str(&format!(", renewed by {renewal}"));
        }
        if let Some(expires) = self.expires {
            line.push_str(&format!(", the access token expires {}", when::relative(expires, now)));
        }
        writeln!(out, "{line}")
    }

    /// Prints one line of JSON.
    fn print_json(&self, out: &mut impl Write, identity: &ServerIdentity) -> io::Result<()> {
        let how = match self.how {
            LoggedIn::Already => "already",
            LoggedIn::Elsewhere => "elsewhere",
            _ => "here",
        };
        let object = json!({
            "event": "signed_in",
            "server": who::server(identity),
            "account": identity.account().as_str(),
            "issuer": self.issuer,
            "subject": self.subject,
            "scopes": self.granted.iter().collect::<Vec<_>>(),
            "generation": self.generation,
            "expires_at": self.expires.map(when::stamp),
            "renewal": self.renewal.as_ref().map(Renewal::source),
            "dpop": self.is_bound,
            "how": how,
        });
        print_json(out, &object)
    }
}

/// The full names of the server and the account, as the person who signs in has given them, without secrets in the URL.
pub(super) fn name(identity: &ServerIdentity) -> String {
    let server = identity.resource().map_or_else(|| identity.to_string(), ToString::to_string);
    match identity.account() {
        account if *account == Account::default() => server,
        account => format!("{server} ({})", harmless(account.as_str())),
    }
}
