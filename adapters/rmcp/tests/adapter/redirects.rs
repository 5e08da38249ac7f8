//! Redirects, below the adapter's own client.

use tokenkeeper_testkit::mcp::{AnswerForm, Instead, OtherOrigin};

use crate::host::{Host, echo};
use crate::within::within;

#[tokio::test]
async fn no_redirect_carries_the_token_or_the_session_to_another_path_or_origin() {
    for form in [AnswerForm::Json, AnswerForm::Sse] {
        let host = Host::with(|_| {}, |settings| settings.answers = form).await;
        let other = OtherOrigin::start().await.unwrap();
        let mcp = host.connect(&host.own_client()).await;
        for status in [301, 302, 303, 307, 308] {
            for location in ["/steal".to_owned(), "/mcp2".to_owned(), other.url("/mcp"), other.url("/steal")] {
                host.resource.next("tools/call", 1, Instead::Redirect { status, location });
                within("an error", echo(&mcp, "x")).await.unwrap_err();
            }
        }
        for status in [301, 302, 303, 307, 308] {
            let location = other.url("/mcp");
            let mcp = host.connect(&host.own_client()).await;
            host.resource.next("DELETE", 1, Instead::Redirect { status, location });
            within("the end", mcp.cancel()).await.unwrap();
        }
        within("a call", echo(&mcp, "x")).await.unwrap();
        assert_eq!((host.resource.counts().elsewhere, other.log().len()), (0, 0), "{form:?}");
        assert!(host.resource.log().iter().all(|request| request.path == "/mcp"), "{form:?}");
        assert_eq!(host.server.counts().token_requests, 0);
    }
}

#[tokio::test]
async fn a_redirect_to_the_server_itself_is_followed_once_the_method_stays() {
    let host = Host::signed_in().await;
    let mcp = host.connect(&host.own_client()).await;
    for (status, is_followed) in [(301, false), (302, false), (303, false), (307, true), (308, true)] {
        host.resource.next("tools/call", 1, Instead::Redirect { status, location: "/mcp?again".to_owned() });
        assert_eq!(within("an answer", echo(&mcp, "x")).await.is_ok(), is_followed, "{status}");
    }
    assert_eq!((host.resource.counts().executed("echo"), host.resource.counts().elsewhere), (2, 0));
}
