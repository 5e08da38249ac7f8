//! The addresses that requests may connect to.

use super::*;

fn at(url: &str) -> ServerIdentity {
    ServerIdentity::new(Account::default(), Target::mcp(url).unwrap())
}

#[tokio::test]
async fn requests_to_endpoints_that_a_server_named_stay_within_its_reach() {
    let cases = [
        (false, "https://mcp.example.com/mcp", Reach::Any),
        (true, "https://mcp.example.com/mcp", Reach::Public),
        (true, "http://127.0.0.1:8000/mcp", Reach::PublicOrLoopback),
    ];
    for (server_named, resource, reach) in cases {
        let (grant_source, http) = source(Ok((200, TOKENS)));
        let renewal = RenewalPlan { server_named, ..RenewalPlan::default() };
        let grant = Grant { renewal: renewal.clone(), ..grant() };
        let Binding { client, .. } = &grant.binding;
        assert_eq!(client.auth, ClientAuth::None);
        let revocation = Revocation {
            binding: grant.binding.clone(),
            renewal,
            refresh: None,
            access: Some(AccessToken::new("at-1")),
        };
        grant_source.request(&at(resource), token_request(Some(grant))).await;
        grant_source.revoke(&at(resource), revocation).await.unwrap();
        let asked: Vec<Reach> = http.asked.lock().unwrap().iter().map(|exchange| exchange.reach).collect();
        assert_eq!(asked, [reach, reach], "{server_named} {resource}");
    }
}

#[tokio::test]
async fn a_hosts_own_reach_holds_for_endpoints_that_a_server_named() {
    for (server_named, reach) in [(true, Reach::PublicOrLoopback), (false, Reach::Any)] {
        let (grant_source, http) = source(Ok((200, TOKENS)));
        let renewal = RenewalPlan { server_named, ..RenewalPlan::default() };
        let grant_source = grant_source.reach(Some(Reach::PublicOrLoopback));
        let (exchange, _) = asked((grant_source, http), Grant { renewal, ..grant() }).await;
        assert_eq!(exchange.reach, reach);
    }
}
