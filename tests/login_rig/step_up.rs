//! A login for more scopes, after the MCP server has refused a token for one operation (RFC 6750 section 3.1).

use std::time::Duration;

use serde_json::json;
use tokenkeeper::callback::{LoopbackListener, LoopbackOptions, Outcome};
use tokenkeeper::discovery::Challenge;
use tokenkeeper::{
    Lease, LogIn, LoginKey, LoginMethod, LoginOffer, LoginProgress, OfferedPrompt, OperationKey, Scopes,
};
use url::Url;

use crate::authority::{Authority, Counts};
use crate::host::Host;
use crate::person::{page_of, parameter};
use crate::web::Answer;
use crate::within::within;

/// The tool that needs another scope.
const TOOL: &str = "admin_echo";

const WAIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_scope_that_is_missing_is_asked_for_beside_those_of_the_session() {
    let Some(authority) = Authority::shared().await else { return };
    let host = Host::new(&authority).await;
    host.sign_in(LogIn::new()).await;
    let narrow = host.token().await.unwrap();
    assert!(names(&narrow, "mcp:tools") && !names(&narrow, "mcp:admin"), "{narrow:?}");

    let step_up = StepUp::begin(&host, &narrow, LoopbackOptions::default()).await;
    let asked = parameter(&step_up.page, "scope").unwrap();
    for scope in ["mcp:tools", "mcp:admin", "offline_access"] {
        assert!(asked.split(' ').any(|asked| asked == scope), "{asked}");
    }
    assert_eq!(host.token().await.unwrap(), narrow, "it is served meanwhile");
    let callback = host.web.consent(&step_up.page).await;
    let (page, ()) = tokio::join!(host.web.open(&callback), step_up.complete(&host));
    assert!(page.contains("<h1>You are signed in</h1>"), "{page}");

    let wide = host.token().await.unwrap();
    assert!(names(&wide, "mcp:tools") && names(&wide, "mcp:admin"), "{wide:?}");
    assert_eq!(host.call(TOOL, json!({ "text": "hi" })).await.text(), "hi");
    // A caller that comes late with the same refusal gets the newer lease, and no person is asked.
    let late =
        host.session.step_up(&narrow, admin(), method("http://127.0.0.1:4/callback"), OperationKey::of(TOOL), WAIT);
    assert_eq!(within("the answer", late).await, Ok(LoginProgress::SignedIn));
    host.assert_served(&authority, "alice").await;
    assert!(names(&host.token().await.unwrap(), "mcp:admin"), "a refresh keeps the scopes");
    let counts = authority.counts();
    assert_eq!(counts, Counts { registrations: 2, codes: 2, refreshes: 1, grants: 2, ..Counts::default() });
    // The grant that was replaced is left, because a revocation would end the new one with it at some servers (law 12).
    host.assert_leaves(&authority, 1).await;
    assert_eq!(authority.counts(), Counts { revoked: 1, ..counts });
}

/// A login for more scopes that is under way.
pub(crate) struct StepUp {
    pub(crate) page: Url,
    pub(crate) listener: LoopbackListener,
    key: LoginKey,
}

impl StepUp {
    /// Calls the tool with this lease, and asks for what the refusal names.
    pub(crate) async fn begin(host: &Host, lease: &Lease, options: LoopbackOptions) -> Self {
        let refusal: Answer = host.call_with(lease, TOOL, &json!({ "text": "hi" })).await;
        assert_eq!(refusal.status, 403);
        let challenge = refusal.challenges.iter().find(|challenge| challenge.is_insufficient_scope());
        let scopes = challenge.and_then(Challenge::scopes).unwrap();
        assert_eq!(scopes, Scopes::new(["mcp:tools", "mcp:admin"]));
        let listener = LoopbackListener::bind(options).await.unwrap();
        let method = method(listener.redirect_uri());
        let progress = host.session.step_up(lease, admin(), method, OperationKey::of(TOOL), WAIT);
        let progress = within("the offer", progress).await.unwrap();
        let LoginProgress::Offered { key, offer, is_first: true, .. } = progress else { panic!("{progress:?}") };
        let LoginOffer { prompt, .. } = *offer;
        assert!(matches!(prompt, OfferedPrompt::Browser { .. }));
        Self { page: page_of(&prompt), listener, key }
    }

    /// Takes the answer that the browser brings, and shows the end there.
    pub(crate) async fn complete(&self, host: &Host) {
        let received = within("the browser", self.listener.next(&[self.key])).await;
        let result = within("the login", host.session.complete_login(received.callback().clone(), WAIT)).await;
        within("the page", received.respond(Outcome::of(result))).await;
        assert_eq!(result, Ok(()));
    }
}

fn method(redirect_uri: &str) -> LoginMethod {
    LoginMethod::Redirect(redirect_uri.to_owned())
}

/// The scope that is missing.
fn admin() -> Scopes {
    Scopes::new(["mcp:admin"])
}

fn names(lease: &Lease, scope: &str) -> bool {
    lease.scopes().iter().any(|granted| granted == scope)
}
