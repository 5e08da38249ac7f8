//! Commands that print tokens, with those that hang, flood and fail.
#![cfg(unix)]

use std::fs;
use std::time::Duration;

use tokenkeeper::Reason;
use tokenkeeper::machine::{ExecCommand, MachineGrant, SubjectToken};

use super::host::{Host, crowd, token, try_token};
use super::server::BEARER;
use super::within;

/// A command that runs `script`, with `$1` as its first argument.
fn shell(script: &str, argument: &str) -> ExecCommand {
    ExecCommand::new("sh").argument("-c").argument(script).argument("sh").argument(argument)
}

/// Notes each run in a file, and prints a token with the number of the run.
const COUNT: &str = "echo run >> \"$1\"; printf 'token-%s' $(wc -l < \"$1\")";

#[tokio::test]
async fn a_crowd_shares_one_run_of_a_command() {
    let host = Host::new().await;
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("runs");
    let session = host.session(0, &MachineGrant::command(shell(COUNT, note.to_str().unwrap())));
    let answers = crowd(std::slice::from_ref(&session), 100).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|lease| lease.token().expose() == "token-1")));
    assert_eq!(fs::read_to_string(&note).unwrap(), "run\n");
    let host = host.restarted().await;
    let session = host.auth.session(host.spec(0));
    assert_eq!(token(&session).await.unwrap(), "token-1", "its lifetime is not known");
}

#[tokio::test]
async fn the_credential_of_a_plugin_has_its_lifetime() {
    let host = Host::new().await;
    let json = r#"printf '{"kind":"ExecCredential","status":{"token":"exec-1","expirationTimestamp":"2999-01-01T00:00:00Z"}}'"#;
    let session = host.session(0, &MachineGrant::command(shell(json, "")));
    assert_eq!(token(&session).await.unwrap(), "exec-1");
    let access = host.grant(session.identity()).await.access.unwrap();
    assert!(access.validity.lifetime().is_some_and(|lifetime| lifetime > Duration::from_secs(3_600)));
}

#[tokio::test]
async fn a_command_that_hangs_floods_or_fails_gives_no_token() {
    let host = Host::new().await;
    let short = Duration::from_millis(200);
    let cases = [
        ("hangs", shell("sleep 600", "").timeout(short)),
        ("prints and hangs", shell("echo token; exec >&-; sleep 600", "").timeout(short)),
        ("floods", shell("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done", "")),
        ("fails", shell("echo token; exit 1", "")),
        ("prints nothing", shell("true", "")),
        ("prints words", shell("echo command not found", "")),
        ("is missing", ExecCommand::new("no-such-program-of-tokenkeeper")),
    ];
    for (server, (case, command)) in cases.into_iter().enumerate() {
        let session = host.session(server, &MachineGrant::command(command));
        let error = try_token(&session).await.unwrap_err();
        assert_eq!(error.reason(), Reason::SubjectUnavailable, "a command that {case}");
        assert!(!error.is_login_required());
    }
}

#[tokio::test]
async fn a_command_that_fails_leaves_the_token_that_is_still_good() {
    let host = Host::new().await;
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("token");
    fs::write(&note, "{\"token\":\"one\",\"expires_in\":3600}").unwrap();
    let session = host.session(0, &MachineGrant::command(shell("cat \"$1\"", note.to_str().unwrap())));
    assert_eq!(token(&session).await.unwrap(), "one");
    fs::remove_file(&note).unwrap();
    // In the early window of the token.
    host.clock.pass(Duration::from_secs(3_400));
    assert_eq!(token(&session).await.unwrap(), "one");
    // The early refresh has failed, and is not joined by the next caller.
    assert!(within("the end of the early refresh", host.auth.quiesce(Duration::from_secs(20))).await);
    fs::write(&note, "two").unwrap();
    host.expire();
    assert_eq!(token(&session).await.unwrap(), "two");
}

#[tokio::test]
async fn a_command_provides_an_assertion() {
    let host = Host::new().await;
    let subject = SubjectToken::command(shell("printf wl-$1", "7"));
    assert!(token(&host.session(0, &MachineGrant::jwt_bearer(subject))).await.is_ok());
    assert_eq!(host.server.requests()[0].form["assertion"], "wl-7");
    assert_eq!(host.server.count(BEARER), 1);
}
