//! A login server to sign in to from a terminal, for a first try of the `tokenkeeper` command. It ends with its standard
//! input, or with Enter.
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::io;

use tokenkeeper_testkit::login_server::{Consent, LoginServer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = LoginServer::builder().consents(Consent::Page).start().await?;
    println!("an MCP server with its authorization server is at {} until you press Enter", server.resource_url());
    println!("\n  tokenkeeper login {}", server.resource_url());
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}
