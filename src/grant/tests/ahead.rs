//! Connections that are made ahead of their requests.

use super::*;

/// Connects ahead, and records where to.
#[derive(Debug)]
struct Ahead(Arc<Scripted>, Mutex<Vec<String>>);

#[derive(Debug)]
struct Line(Arc<Scripted>);

#[async_trait]
impl HttpClient for Ahead {
    async fn send(&self, _: Exchange) -> Result<Response<Body>, HttpError> {
        panic!("a request goes over its connection")
    }

    async fn connect(&self, uri: &http::Uri, _: Reach) -> Result<Option<Box<dyn HttpConnection>>, NotSent> {
        self.1.lock().unwrap().push(uri.to_string());
        Ok(Some(Box::new(Line(Arc::clone(&self.0)))))
    }
}

#[async_trait]
impl HttpConnection for Line {
    async fn send(self: Box<Self>, exchange: Exchange) -> Result<Response<Body>, HttpError> {
        self.0.send(exchange).await
    }
}

#[tokio::test]
async fn it_connects_to_the_token_endpoint_and_sends_the_same_request_over_the_connection() {
    let (plain, http) = source(Ok((200, TOKENS)));
    let ahead = Arc::new(Ahead(Arc::clone(&http), Mutex::default()));
    let over = RefreshGrant::new(ahead.clone(), Arc::new(Still));
    let credential = RefreshCredential::new(RefreshToken::new("rt 1+/="), &DigestKey::new([7; 32]));
    let held = Held { credential, since: Still.now(), mark: None };
    let grant = Grant { refresh: Refresh::Held(held), ..grant() };
    let connection = over.connect(&identity(), &grant).await.unwrap().expect("it connects ahead");
    assert_eq!(*ahead.1.lock().unwrap(), ["https://as.example.com/token?tenant=1"]);
    assert!(http.asked.lock().unwrap().is_empty());
    let evidence = connection.request(&identity(), token_request(Some(grant.clone()))).await;
    assert!(matches!(evidence, Evidence::Tokens(_)), "{evidence:?}");
    plain.request(&identity(), token_request(Some(grant.clone()))).await;
    let asked = std::mem::take(&mut *http.asked.lock().unwrap());
    assert_eq!((asked.len(), body(&asked[0])), (2, body(&asked[1])));

    // A request that cannot be made needs no connection.
    let mut impossible = grant.clone();
    impossible.binding.client.auth = ClientAuth::Basic;
    for grant in [Grant { refresh: Refresh::None, ..grant.clone() }, impossible] {
        assert_eq!(over.connect(&identity(), &grant).await.err(), Some(NotSent::Unbuildable));
    }
    assert_eq!(ahead.1.lock().unwrap().len(), 1);
    // A client that does not connect ahead makes the request by itself.
    assert!(plain.connect(&identity(), &grant).await.unwrap().is_none());
}
