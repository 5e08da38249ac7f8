//! A login for a further scope, after the MCP server has refused a token for one tool (RFC 6750 section 3.1).

use serde_json::json;
use tokenkeeper::{Scopes, StepUp};
use tokenkeeper_rmcp::session_error;

use crate::authority::Counts;
use crate::host::{Host, WAIT, Wire, method};
use crate::server::Sdk;
use crate::transport::Mcp;
use crate::within::within;

/// The tool that needs another scope.
const TOOL: &str = "admin_echo";

at_both!(a_tool_that_needs_a_further_scope_succeeds_after_a_login_for_it);

async fn a_tool_that_needs_a_further_scope_succeeds_after_a_login_for_it(sdk: Sdk) {
    let Some(host) = Host::signed_in(sdk).await else { return };
    let transports = [host.connect(Wire::Of2025).await, host.connect(Wire::Of2026).await];
    for mcp in &transports {
        refused(mcp).await;
        mcp.echo().await.unwrap();
    }
    assert_eq!(host.servers.authority.counts().refreshes, 0, "a refresh does not help");

    let named = refused(&transports[0]).await;
    let step_up = match sdk {
        Sdk::TypeScript => {
            assert_eq!(named.scopes(), Scopes::new(["mcp:tools", "mcp:admin"]));
            named
        }
        // Its challenges name no scopes, and its metadata only those of the whole server. The host has to know them.
        Sdk::Python => {
            assert_eq!(named.scopes(), Scopes::default());
            named.with_scopes(&Scopes::new(["mcp:admin"]))
        }
    };
    let asked = host.consent(within("the offer", step_up.begin(method(), WAIT)).await).await;
    assert!(["mcp:tools", "mcp:admin"].iter().all(|scope| asked.split(' ').any(|asked| asked == *scope)), "{asked}");

    for mcp in &transports {
        assert_eq!(mcp.call(TOOL, json!({ "text": "hi" })).await.unwrap(), "hi");
        mcp.echo().await.unwrap();
    }
    let counts = host.servers.counts();
    assert_eq!((counts.answered("POST", 403), counts.executed(TOOL)), (3, 2));
    let expected = Counts { registrations: 1, pushed: 1, codes: 2, grants: 2, ..Counts::default() };
    assert_eq!(host.servers.authority.counts(), expected);
    host.end(transports).await;
}

/// Calls the tool in vain.
async fn refused(mcp: &Mcp) -> StepUp {
    let error = mcp.call(TOOL, json!({ "text": "hi" })).await.unwrap_err();
    let step_up = session_error(&error).and_then(|error| error.step_up().cloned());
    step_up.unwrap_or_else(|| panic!("{error:?}"))
}
