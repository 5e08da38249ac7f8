//! A resource that moves to another authorization server.

use serde_json::json;
use tokenkeeper::{LoginCause, LoginMethod, LoginProgress, LoginSettings, LoginWish, OfferedPrompt, Scopes};

use crate::within::within;
use crate::world::*;

/// The scopes of the old grant mean nothing at the new server. Those that the caller asks for do.
#[tokio::test]
async fn scopes_that_are_asked_for_are_asked_for_at_the_new_server_too() {
    for (asked, wanted) in
        [(&["tools"] as &[&str], vec!["tools"]), (&["tools", "more"], vec!["tools more"]), (&[], vec![])]
    {
        let world = World::new();
        let (_runtime, session) = world.session(LoginSettings::default()).await;
        let begin = |scopes: &[&str], cause| {
            let scopes = Scopes::new(scopes.iter().copied());
            let wish = LoginWish { scopes, ..wish(LoginMethod::Redirect(REDIRECT.to_owned())) };
            let begun = session.begin_login(wish, cause, WAIT);
            async {
                match within("a prompt", begun).await.unwrap() {
                    LoginProgress::Offered { offer, .. } => match offer.prompt {
                        OfferedPrompt::Browser { url } => url::Url::parse(url.as_str()).unwrap(),
                        other => panic!("{other:?}"),
                    },
                    other => panic!("{other:?}"),
                }
            }
        };
        let page = begin(&["tools"], LoginCause::Person).await;
        assert_eq!(parameter(&page, "scope"), ["tools"]);
        answer(&session, &page).await.unwrap();

        world.moves_to("https://new.example.com");
        let page = begin(asked, LoginCause::Again).await;
        assert_eq!(page.host_str(), Some("new.example.com"));
        assert_eq!(parameter(&page, "scope"), wanted, "{asked:?}");
        assert_eq!(parameter(&page, "client_id"), ["c2"]);
        world.on("https://new.example.com/token", 200, json!({ "access_token": "at-2", "token_type": "Bearer" }));
        answer(&session, &page).await.unwrap();
        let sent = world.sent_to("https://new.example.com/token").remove(0).body;
        assert!(sent.contains("client_id=c2") && !sent.contains("rt-1"), "{sent}");
    }
}
