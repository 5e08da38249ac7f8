//! Messages pass as they are, both ways.

use serde_json::{Value, json};

use crate::client::{ProxyClient, initialize};
use crate::server::OddServer;

/// Messages that a typed program would change.
const PROBES: [&str; 10] = [
    r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"a","arguments":{"n":1.0,"big":123456789012345678901234567890}}}"#,
    r#"{"jsonrpc":"2.0","id":1.5,"method":"x/unknown","params":null,"extra":{"member":[ 1 , 2 ]}}"#,
    r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#,
    r#"{"id":"\u0061\/","jsonrpc":"2.0","method":"tools\/list","params":{"cursor":null,"more":1e400}}"#,
    r#"{"jsonrpc":"2.0","id":-0,"method":"resources/read","params":{"uri":"file:///\ud83d\ude00"}}"#,
    r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#,
    r#"{ "jsonrpc" : "2.0" , "id" : "é" , "method" : "ping" , "params" : [ ] }"#,
    r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
    r#"{"method":"ping","id":7}"#,
    r#"{"jsonrpc":"2.0","id":[],"method":7}"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_are_the_same_bytes() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    for probe in PROBES {
        proxy.send(probe).await;
        let post = server.post().await;
        assert_eq!(String::from_utf8(post.body.clone()).unwrap(), probe);
        let id = probe.split("\"id\":").nth(1).or(probe.split("\"id\" :").nth(1)).unwrap();
        let id = serde_json::Deserializer::from_str(id)
            .into_iter::<Box<serde_json::value::RawValue>>()
            .next()
            .unwrap()
            .unwrap();
        let answer = format!(
            r#"{{"result":{{"n":1.0,"huge":1e999,"x":123456789012345678901234567890}}, "jsonrpc":"2.0","unknown":null,"id":{id}}}"#
        );
        post.answer(&answer).await;
        assert_eq!(proxy.line().await, answer);
    }
    let (rest, code, _) = proxy.end().await;
    assert_eq!((rest, code, server.left().len()), (vec![], 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_break_between_tokens_becomes_a_blank() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send("\r").await;
    proxy.send(r#"{"id":1,"method":"a"}"#.to_owned() + "\r").await;
    let post = server.post().await;
    post.answer("{\r\n \"id\": 1,\n \"result\": {}\n}\n").await;
    assert_eq!(proxy.line().await, r#"{   "id": 1,  "result": {} }"#);
    proxy.send(r#"{"id":2,"method":"a"}"#).await;
    let mut stream = server.post().await.events().await;
    assert!(stream.bytes("data: {\ndata: \"id\":2,\r\ndata:\"result\":{}\rdata: }\n\n").await);
    assert_eq!(proxy.line().await, r#"{ "id":2, "result":{} }"#);
    stream.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_its_messages() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    proxy.send(r#"[{"method":"n"},{"id":1,"method":"a"}]"#).await;
    let post = server.post().await;
    assert_eq!(post.body, br#"{"method":"n"}"#);
    post.accepted().await;
    let post = server.post().await;
    assert_eq!(post.body, br#"{"id":1,"method":"a"}"#);
    post.answer(r#"[{"method":"note"},{"id":1,"result":{}}]"#).await;
    assert_eq!(
        (proxy.line().await, proxy.line().await),
        (r#"{"method":"note"}"#.into(), r#"{"id":1,"result":{}}"#.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_no_message_is_answered_and_not_sent() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    for line in ["{", "[]", "7", "{\"id\":1,\"id\":2,\"method\":\"a\"}"] {
        proxy.send(line).await;
        let answer = proxy.message().await;
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32700), &Value::Null), "{line}");
    }
    proxy.send([b"{\"id\":1,\"method\":\"", "x".repeat(33 << 20).as_bytes(), b"\"}"].concat()).await;
    assert_eq!(proxy.message().await["error"]["code"], -32700);
    assert_eq!(server.left(), [] as [&str; 0]);
}

/// The first message of a client goes once, with its own members, and nothing is asked of the server besides.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_sees_the_client_and_nothing_else() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let standing = server.open(&mut proxy, "s1").await;
    standing.reply(405, &[], "").await;
    proxy.send(json!({ "id": 1, "method": "ping" }).to_string()).await;
    let post = server.post().await;
    assert!(post.header("user-agent").unwrap().starts_with("tokenkeeper/"));
    assert_eq!(
        (post.header("authorization"), post.header("cookie"), post.header("accept-encoding")),
        (None, None, None)
    );
    post.result(json!({})).await;
    assert_eq!(proxy.message().await["id"], 1);
    let end = tokio::spawn(proxy.end());
    let delete = server.next("DELETE").await;
    assert_eq!(delete.header("mcp-session-id"), Some("s1"));
    delete.reply(204, &[], "").await;
    assert_eq!((end.await.unwrap().1, server.left().len()), (0, 0));
    assert_eq!(initialize()["params"]["clientInfo"]["name"], "test");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_pass_both_ways() {
    let mut server = OddServer::start().await;
    let mut proxy = ProxyClient::start(server.url());
    let text = "x".repeat(10 << 20);
    let request = json!({ "id": 1, "method": "a", "params": { "text": text } }).to_string();
    let (mut input, sent) = (proxy.input.take().unwrap(), request.clone() + "\n");
    let write = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut input, sent.as_bytes()).await.unwrap();
        input
    });
    let post = server.post().await;
    assert!(post.body == request.as_bytes());
    proxy.input = Some(write.await.unwrap());
    let answer = json!({ "id": 1, "result": { "text": text } }).to_string();
    let (sent, reply) = (answer.clone(), post);
    let reply = tokio::spawn(async move { reply.answer(sent).await });
    assert!(proxy.line().await == answer);
    reply.await.unwrap();
}
