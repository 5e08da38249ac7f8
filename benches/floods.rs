//! The effect of a hostile server and of a store that hangs on the rest of a host: the delay of another task while a server
//! floods the client with informational answers, and the threads that a store takes while it hangs. Prints two tables. See
//! `benches/README.md`.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark that cannot go on says so and ends")]
#![allow(clippy::disallowed_methods, reason = "a benchmark owns its tasks, and measures with a watch of its own")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Method, Request};
use tokenkeeper::http::{Body, Departure, Exchange, HttpClient, Reach, ReqwestClient};
use tokenkeeper::issuers::{Client, IssuerSettings};
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{AuthRuntime, Login, SessionSpec};
use tokio::runtime::{Builder, Runtime};

/// The sleep of the other task.
const SLEEP: Duration = Duration::from_millis(5);

/// How long each line is measured.
const SPAN: Duration = Duration::from_secs(10);

/// The sessions on the store that hangs.
const SESSIONS: usize = 200;

fn main() {
    println!("\n| another task's sleep of 5 ms | mean | longest |\n|---|---|---|");
    for floods in [0, 1, 8] {
        delay("one thread", &Builder::new_current_thread().enable_all().build().expect("a tokio runtime"), floods);
        let two = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a tokio runtime");
        delay("two threads", &two, floods);
    }
    println!(
        "\n| a file store that hangs | threads of the store | threads of the host's pool | a job in that pool |\n|---|---|---|---|"
    );
    Builder::new_current_thread().enable_all().build().expect("a tokio runtime").block_on(hanging());
}

/// Prints the mean and the longest duration of the sleep while `floods` exchanges are flooded, one after another each.
fn delay(what: &str, runtime: &Runtime, floods: usize) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let uri: http::Uri = format!("http://{}/token", listener.local_addr().expect("a port")).parse().expect("a URI");
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || flood(stream));
        }
    });
    let (mut sum, mut longest, mut sleeps) = (Duration::ZERO, Duration::ZERO, 0);
    runtime.block_on(async {
        let client: Arc<dyn HttpClient> = Arc::new(ReqwestClient::new().expect("a client"));
        for _ in 0..floods {
            let (client, uri) = (Arc::clone(&client), uri.clone());
            tokio::spawn(async move {
                loop {
                    let mut request = Request::new(Body::new("refresh_token=rt"));
                    (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri.clone());
                    let (timeout, departure) = (Duration::from_secs(30), Departure::at_any_time());
                    drop(
                        client
                            .send(Exchange { request, timeout, max_answer: 1 << 20, departure, reach: Reach::Any })
                            .await,
                    );
                }
            });
        }
        let sleeping = tokio::spawn(async move {
            let began = Instant::now();
            while began.elapsed() < SPAN {
                let before = Instant::now();
                tokio::time::sleep(SLEEP).await;
                let took = before.elapsed();
                (sum, longest, sleeps) = (sum + took, longest.max(took), sleeps + 1);
            }
            (sum, longest, sleeps)
        });
        (sum, longest, sleeps) = sleeping.await.expect("it ends");
    });
    let mean = sum.as_secs_f64() * 1e3 / f64::from(sleeps);
    let longest = longest.as_secs_f64() * 1e3;
    println!("| {floods} floods, a runtime of {what} | {mean:.1} ms | {longest:.1} ms |");
}

/// Answers a request with informational answers, until the client closes the connection.
fn flood(mut stream: TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"refresh_token=rt") {
        let mut byte = [0];
        if !stream.read(&mut byte).is_ok_and(|length| length == 1) {
            return;
        }
        request.extend(byte);
    }
    let hints = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(4_096);
    while stream.write_all(&hints).is_ok() {}
}

/// Prints the threads that 200 logouts take while another process holds each record's lock.
async fn hanging() {
    let home = tempfile::tempdir().expect("a folder");
    let auth = AuthRuntime::builder(FileStore::open(home.path()).expect("a home")).spawn().await.expect("a runtime");
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|number| {
            SessionSpec::mcp("https://mcp.example.com/mcp").and_then(|spec| spec.account(format!("{number}")))
        })
        .map(|spec| auth.session(spec.expect("a session")))
        .collect();
    for (number, session) in sessions.iter().enumerate() {
        let issuer =
            IssuerSettings::new("https://as.example.com", "https://as.example.com/token", Client::public("client"));
        let login = Login::at(issuer.expect("an issuer")).refresh_token(format!("rt-{number}"));
        session.install(login).await.expect("installed");
    }
    let locks = home.path().join("locks").read_dir().expect("a folder of locks");
    let held: Vec<_> = locks
        .map(|entry| entry.expect("a lock").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "commit"))
        .map(|path| File::open(path).expect("a lock"))
        .inspect(|file| file.lock().expect("a free lock"))
        .collect();
    assert_eq!(held.len(), SESSIONS);
    let logouts = tokio::spawn(async move { join_all(sessions.iter().map(|session| session.logout())).await });
    let mut most = (0, 0, Duration::ZERO);
    let began = Instant::now();
    while began.elapsed() < SPAN {
        let asked = Instant::now();
        tokio::task::spawn_blocking(|| ()).await.expect("it ends");
        let took = asked.elapsed();
        most = (most.0.max(threads("tokenkeeper-disk")), most.1.max(threads("tokio-")), most.2.max(took));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("| {SESSIONS} logouts, 10 s | {} | {} | {:.2} ms |", most.0, most.1, most.2.as_secs_f64() * 1e3);
    drop(held);
    drop(logouts);
}

/// The number of this process's threads whose name begins with `name`, shortened as the kernel does.
fn threads(name: &str) -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0 };
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|comm| comm.starts_with(&name[..name.len().min(15)])).count()
}
