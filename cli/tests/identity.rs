//! Transcripts of `tokenkeeper identity`.

use snapbox::cmd::{Command, cargo_bin};
use snapbox::str;

fn tokenkeeper(arguments: &[&str]) -> snapbox::cmd::OutputAssert {
    Command::new(cargo_bin!("tokenkeeper")).args(arguments).assert()
}

#[test]
fn a_url_is_shown_as_it_is_understood() {
    tokenkeeper(&["identity", "HTTPS://MCP.Example.com:443/x/../mcp"]).success().stderr_eq("").stdout_eq(str![[r#"
server    https://mcp.example.com/mcp
resource  https://mcp.example.com/mcp
account   default
key       mcp:https://mcp.example.com/mcp#default
name      https://mcp.example.com/mcp

"#]]);
}

#[test]
fn only_the_name_is_made_for_logs() {
    let url = "https://mcp.example.com/mcp?key=s3cret-value";
    tokenkeeper(&["identity", url, "--account", "alice@example.com"]).success().stderr_eq("").stdout_eq(str![[r#"
server    https://mcp.example.com/mcp?key=s3cret-value
resource  https://mcp.example.com/mcp
account   alice@example.com
key       mcp:https://mcp.example.com/mcp?key=s3cret-value#alice@example.com
name      https://mcp.example.com/mcp?… (a…@example.com) ~b485e2b0

"#]]);
}

#[test]
fn json_is_one_object() {
    let arguments = ["identity", "--json", "--account", "\"wörk\"", "http://localhost:8080/"];
    let asserted = tokenkeeper(&arguments).success().stderr_eq("");
    let printed: serde_json::Value = serde_json::from_slice(&asserted.get_output().stdout).unwrap();
    let expected = serde_json::json!({
        "server": "http://localhost:8080",
        "resource": "http://localhost:8080",
        "account": "\"wörk\"",
        "key": "mcp:http://localhost:8080#%22w%C3%B6rk%22",
        "name": "http://localhost:8080 (\"wörk\")",
    });
    assert_eq!(printed, expected);
}

#[test]
fn an_unacceptable_url_says_what_to_do_and_is_not_repeated() {
    tokenkeeper(&["identity", "https://user:hunter2@mcp.example.com"]).code(2).stdout_eq("").stderr_eq(str![[r#"
error: the URL carries a user name or password: remove what stands before the @, and sign in instead

"#]]);
    tokenkeeper(&["identity", "mcp.example.com", "--json"]).code(2).stdout_eq("").stderr_eq(str![[r#"
error: this is not an absolute URL: write all of it, beginning with https://

"#]]);
}

#[test]
fn an_unacceptable_account_says_what_to_do() {
    let arguments = ["identity", "https://mcp.example.com", "--account", ""];
    tokenkeeper(&arguments).code(2).stdout_eq("").stderr_eq(str![[r#"
error: the account's label is empty: give it a name, or leave it out to mean the default account

"#]]);
    let arguments = ["identity", "https://mcp.example.com", "--account", "a\u{1b}[2J"];
    tokenkeeper(&arguments).code(2).stdout_eq("").stderr_eq(str![[r#"
error: the account's label contains a control character: remove it

"#]]);
}

#[test]
fn a_missing_argument_is_a_usage_error() {
    tokenkeeper(&["identity"]).code(2).stdout_eq("").stderr_eq(str![[r#"
error: the following required arguments were not provided:
  <SERVER>

Usage: tokenkeeper identity <SERVER>

For more information, try '--help'.

"#]]);
    tokenkeeper(&[]).code(2).stdout_eq("");
    tokenkeeper(&["identity", "https://mcp.example.com", "--colour"]).code(2).stdout_eq("");
}

#[test]
fn help_documents_the_exit_codes() {
    tokenkeeper(&["--help"]).success().stderr_eq("").stdout_eq(str![[r#"
Keeps OAuth sessions for MCP servers, and lets only one process at a time use each refresh token

Usage: tokenkeeper [OPTIONS] <COMMAND>

Commands:
  login     Signs in to an MCP server, and stores the session
  status    Shows the sessions of this home: how each stands, and why
  token     Prints an access token that is fit for use
  call      Calls a tool of an MCP server, once or many times side by side
  tools     Lists the tools of an MCP server
  proxy     Runs as an MCP server on standard input and output, and passes each message on to a server over HTTP
  run       Runs a program that gets the tokens of a session
  import    Takes over a login that was made elsewhere: one JSON object on standard input
  logout    Logs out: the stored tokens are removed, and no process serves them any more
  forget    Forgets sessions that were logged out, so that no status shows them any more
  name      Gives a session a short name, which every command takes in the place of the server's URL
  whoami    Shows the person who is signed in to a session, as the provider describes them
  why       Shows what happened to a session, and so why it stands as it does
  doctor    Explains what a login at a server would meet, request by request, and whose fault a problem is
  identity  Shows how an MCP server's URL is understood: nothing is sent, read or written
  help      Print this message or the help of the given subcommand(s)

Options:
      --home <DIR>        The folder that keeps the sessions [default: $XDG_STATE_HOME/tokenkeeper or ~/.local/state/tokenkeeper] [env: TOKENKEEPER_HOME]
      --key <PLACE>       Where the home's key is: in a file of the home (file), or in the operating system's keychain (keychain) [env: TOKENKEEPER_KEY] [default: file]
      --providers <FILE>  A file with providers of your own, and with changes to known ones [default: $XDG_CONFIG_HOME/tokenkeeper/providers.json or ~/.config/tokenkeeper/providers.json, if it exists] [env: TOKENKEEPER_PROVIDERS]
  -h, --help              Print help
  -V, --version           Print version

Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: an argument, or what came on standard input, is not acceptable
  3  login required: only a new login helps
  4  refused: by the server, or because it would do harm
  5  temporarily unavailable: trying again may help
  6  store trouble: the home cannot be read or written

"#]]);
    tokenkeeper(&["identity", "--help"]).success().stderr_eq("").stdout_eq(str![[r#"
Shows how an MCP server's URL is understood: nothing is sent, read or written

Prints the server's canonical URL, the "resource" of token requests (RFC 8707), which has no query
unless the login names another, the account, the key under which stores keep the session, and the
name that logs show. All but the name may hold a secret, if the URL has one in it.

Usage: tokenkeeper identity [OPTIONS] <SERVER>

Arguments:
  <SERVER>
          The MCP server's URL, such as https://mcp.example.com/mcp, or - to read it from standard input

Options:
      --account <ACCOUNT>
          Whose session it is, where you have more than one at this server (otherwise that of the account named default)

      --home <DIR>
          The folder that keeps the sessions [default: $XDG_STATE_HOME/tokenkeeper or ~/.local/state/tokenkeeper]
          
          [env: TOKENKEEPER_HOME]

      --json
          Print one JSON object with the members server, resource, account, key and name

      --key <PLACE>
          Where the home's key is: in a file of the home (file), or in the operating system's keychain (keychain)
          
          [env: TOKENKEEPER_KEY]
          [default: file]

      --providers <FILE>
          A file with providers of your own, and with changes to known ones [default: $XDG_CONFIG_HOME/tokenkeeper/providers.json or ~/.config/tokenkeeper/providers.json, if it exists]
          
          [env: TOKENKEEPER_PROVIDERS]

  -h, --help
          Print help (see a summary with '-h')

Exit codes:
  0  done
  1  failed: what was asked for could not be done
  2  usage: an argument, or what came on standard input, is not acceptable
  3  login required: only a new login helps
  4  refused: by the server, or because it would do harm
  5  temporarily unavailable: trying again may help
  6  store trouble: the home cannot be read or written

"#]]);
}

/// Standard output that fails like a full disk.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_a_failure() -> std::io::Result<()> {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
    let output = std::process::Command::new(cargo_bin!("tokenkeeper"))
        .args(["identity", "https://mcp.example.com"])
        .stdout(full)
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
    Ok(())
}
