//! Prints the identities for different spellings of server URLs.
//!
//!     cargo run --example canonical

#![expect(clippy::print_stdout, reason = "an example prints what it shows")]

use tokenkeeper::{Account, IdentityError, ResourceUri, ServerIdentity, Target};

fn main() -> Result<(), IdentityError> {
    let spellings = [
        "https://mcp.example.com/mcp",
        "HTTPS://MCP.Example.COM:443/x/../mcp",
        "https://mcp.example.com/mcp/",
        "https://mcp.example.com/mcp?tenant=7",
        "https://user:password@mcp.example.com/mcp",
        "mcp.example.com/mcp",
    ];
    for spelling in spellings {
        match Target::mcp(spelling) {
            Ok(target) => println!("{spelling}\n  is {}", ServerIdentity::new(Account::default(), target).key()),
            Err(error) => println!("{spelling}\n  is refused: {error}"),
        }
    }

    // The URLs that may receive the access token of a session.
    let resource = ResourceUri::parse("https://mcp.example.com/mcp")?;
    for url in ["https://mcp.example.com/mcp/messages?session=1", "https://mcp.example.com/mcp/%2e%2e/admin"] {
        let verb = if resource.covers(url) { "goes" } else { "does not go" };
        println!("a token for {resource} {verb} to {url}");
    }

    // A name for logs shows no query and no whole address, and still tells two identities apart.
    for address in ["alice@example.com", "anna@example.com"] {
        let target = Target::mcp("https://mcp.example.com/mcp?tenant=7")?;
        println!("in a log: {}", ServerIdentity::new(Account::new(address)?, target));
    }
    Ok(())
}
