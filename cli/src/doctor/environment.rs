//! The settings of this machine that connections depend on: trusted certificates and proxies.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use tokenkeeper::http::Reach;
use url::Url;

use super::finding::{Finding, Party, shown_url};
use crate::egress;

/// The environment variables that name trusted certificates.
const CERTIFICATES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The environment variables that name a proxy for `https`, the first of which counts.
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The settings of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    certificates: Vec<Certificates>,
    proxy: Option<Proxy>,
    /// The proxy for URLs that servers name, as it may be shown.
    egress: Option<String>,
}

/// A variable that names trusted certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Certificates {
    variable: &'static str,
    path: PathBuf,
    is_readable: bool,
}

/// A variable that names a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proxy {
    variable: &'static str,
    /// The scheme, host and port of the proxy, without its credentials.
    shown: String,
    /// The hosts for which the proxy is not used (`NO_PROXY`).
    exceptions: Vec<String>,
}

impl Environment {
    pub(super) fn of_process() -> Self {
        Self::of(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()), is_readable)
    }

    fn of(variable: impl Fn(&str) -> Option<String>, is_readable: impl Fn(&Path) -> bool) -> Self {
        let value = |name| variable(name).filter(|value| !value.is_empty());
        let certificates = CERTIFICATES.into_iter().filter_map(|variable| {
            let path = PathBuf::from(value(variable)?);
            Some(Certificates { variable, is_readable: is_readable(&path), path })
        });
        let proxy = PROXIES.into_iter().find_map(|variable| {
            let shown = shown_proxy(&value(variable)?);
            let exceptions = ["no_proxy", "NO_PROXY"].into_iter().find_map(value).unwrap_or_default();
            let exceptions = exceptions.split(',').map(|host| host.trim().to_ascii_lowercase());
            Some(Proxy { variable, shown, exceptions: exceptions.filter(|host| !host.is_empty()).collect() })
        });
        Self { certificates: certificates.collect(), proxy, egress: value(egress::PROXY).map(|url| shown_proxy(&url)) }
    }

    /// The variable with the proxy that a request to `url` may use. URLs that a server names, and plain `http`, use none.
    pub(super) fn proxy_for(&self, url: &Url, reach: Reach) -> Option<&'static str> {
        let is_used = reach == Reach::Any && url.scheme() == "https";
        let host = url.host_str().unwrap_or_default();
        self.proxy.as_ref().filter(|proxy| is_used && !proxy.excepts(host)).map(|proxy| proxy.variable)
    }

    /// The variable with a proxy that is not used for URLs that servers name.
    pub(super) fn unused_proxy(&self) -> Option<&'static str> {
        self.proxy.as_ref().filter(|_| self.egress.is_none()).map(|proxy| proxy.variable)
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.certificates.iter().map(Certificates::finding).collect();
        if findings.is_empty() {
            findings.push(Finding::fine("certificates", "trusts the certificates of the operating system"));
        }
        findings.push(match &self.proxy {
            None => Finding::fine("proxy", "the environment names no proxy, so connections are direct"),
            Some(Proxy { variable, shown, exceptions }) => {
                let exceptions = if exceptions.is_empty() { "" } else { ", unless NO_PROXY names it" };
                let others = if self.egress.is_some() { egress::PROXY } else { "nothing in between" };
                let seen = format!(
                    "{variable} names the proxy {shown}: https requests to the MCP server use it{exceptions}; requests to \
                     URLs that servers name go through {others}"
                );
                Finding::note("proxy", Party::Machine, seen)
                    .rule("tokenkeeper law 24: a proxy would look up names that a server chose")
                    .advice("if this machine cannot reach the authorization server directly, set TOKENKEEPER_PROXY to a proxy that may")
            }
        });
        findings
    }
}

impl Proxy {
    /// Whether the host or a domain above it is among the exceptions.
    fn excepts(&self, host: &str) -> bool {
        self.exceptions.iter().any(|exception| {
            let domain = exception.trim_start_matches('.');
            exception == "*" || host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
    }
}

/// The finding for a machine on which no connection can be made. Its cause is usually a lack of trusted certificates.
pub(super) fn without_client(error: &dyn Error) -> Finding {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    Finding::problem("no-client", Party::Machine, causes.join(": ")).advice(
        "correct SSL_CERT_FILE and SSL_CERT_DIR, or install the certificates of the operating system (ca-certificates)",
    )
}

impl Certificates {
    fn finding(&self) -> Finding {
        let Self { variable, path, is_readable } = self;
        let path = path.display();
        if *is_readable {
            return Finding::fine(
                "certificates",
                format!("trusts the certificates of {variable}, {path}, in place of the operating system's"),
            );
        }
        Finding::note(
            "certificates-unreadable",
            Party::Machine,
            format!("{variable} names {path}, which cannot be read"),
        )
        .advice(format!("correct {variable}, or unset it to trust the certificates of the operating system"))
    }
}

fn is_readable(path: &Path) -> bool {
    if path.is_dir() { path.read_dir().is_ok() } else { std::fs::File::open(path).is_ok() }
}

/// The address of a proxy without its credentials.
fn shown_proxy(value: &str) -> String {
    let address = value.rsplit_once('@').map_or(value, |(_, address)| address);
    let scheme = value.split_once("://").filter(|_| !address.contains("://"));
    shown_url(&scheme.map_or_else(|| address.to_owned(), |(scheme, _)| format!("{scheme}://{address}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Environment::of(value, |path| path == Path::new("/good.pem"))
    }

    fn codes(environment: &Environment) -> Vec<(&'static str, bool)> {
        let is_fine = |finding: &Finding| finding.verdict == Verdict::Fine;
        environment.findings().iter().map(|finding| (finding.code, is_fine(finding))).collect()
    }

    #[test]
    fn roots_and_proxies_are_explained() {
        assert_eq!(codes(&environment(&[])), [("certificates", true), ("proxy", true)]);
        let set = environment(&[("SSL_CERT_FILE", "/good.pem"), ("SSL_CERT_DIR", "/none"), ("https_proxy", "")]);
        assert_eq!(codes(&set), [("certificates", true), ("certificates-unreadable", false), ("proxy", true)]);
    }

    #[test]
    fn a_proxy_is_for_the_server_that_the_person_named_and_its_password_is_not_shown() {
        let set =
            environment(&[("HTTPS_PROXY", "http://me:hush@proxy.example:3128"), ("NO_PROXY", "b.example, .c.example")]);
        let url = |text| Url::parse(text).unwrap();
        assert_eq!(set.proxy_for(&url("https://a.example/mcp"), Reach::Any), Some("HTTPS_PROXY"));
        assert_eq!(set.proxy_for(&url("https://a.example/mcp"), Reach::Public), None);
        for excepted in ["https://b.example/", "https://x.c.example/", "https://c.example/"] {
            assert_eq!(set.proxy_for(&url(excepted), Reach::Any), None, "{excepted}");
        }
        assert!(set.proxy_for(&url("https://ab.example/"), Reach::Any).is_some());
        assert_eq!(set.proxy_for(&url("http://127.0.0.1/mcp"), Reach::Any), None);
        let told = format!("{:?}", set.findings());
        assert!(told.contains("http://proxy.example:3128") && !told.contains("hush"), "{told}");
        assert_eq!(shown_proxy("me:hush@proxy:1"), "proxy:1");
    }
}
