//! A process is killed between a nonce challenge and the request that answers it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokenkeeper::http::{Body, Exchange, HttpClient, HttpError, ReqwestClient};
use tokenkeeper::stores::file::FileStore;
use tokenkeeper::{AuthRuntime, Dpop, SessionSpec, TokenOptions};
use tokenkeeper_testkit::login_server::LoginServer;

use crate::scene::Host;
use crate::within::within;

const FOLDER: &str = "DPOP_VICTIM_FOLDER";
const SERVER: &str = "DPOP_VICTIM_SERVER";

/// A client whose process is killed before its second request.
#[derive(Debug)]
struct Deadly(ReqwestClient, AtomicU32);

#[async_trait]
impl HttpClient for Deadly {
    async fn send(&self, exchange: Exchange) -> Result<http::Response<Body>, HttpError> {
        if self.1.fetch_add(1, Ordering::SeqCst) == 1 {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
        self.0.send(exchange).await
    }
}

fn store(folder: &Path) -> Arc<FileStore> {
    Arc::new(FileStore::open(folder).unwrap())
}

/// The body of the victim. It does nothing as a test.
#[tokio::test]
async fn victim() {
    let (Ok(folder), Ok(server)) = (std::env::var(FOLDER), std::env::var(SERVER)) else { return };
    let http = Arc::new(Deadly(ReqwestClient::new().unwrap(), AtomicU32::new(0)));
    let auth = AuthRuntime::builder_over(store(Path::new(&folder))).http(http).spawn().await.unwrap();
    let session = auth.session(SessionSpec::mcp(&server).unwrap());
    let options = TokenOptions { force: true, ..TokenOptions::default() };
    panic!("the victim lives: {:?}", session.token_with(options).await);
}

#[tokio::test]
async fn a_kill_between_a_challenge_and_its_answer_costs_nothing() {
    let server = LoginServer::builder().dpop().start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let host = Host::over(store(&home), &server.resource_url(), Dpop::WhereAnnounced).await;
    host.sign_in().await.unwrap();
    let key = host.key().await;
    assert!(within("the end", host.runtime.shutdown(std::time::Duration::from_secs(5))).await.is_clean());
    drop(host);

    server.hostile().proof_rules(|rules| rules.server_nonces = true);
    let mut victim = Command::new(std::env::current_exe().unwrap());
    victim.args(["--exact", "kills::victim"]).env(FOLDER, &home).env(SERVER, server.resource_url());
    let ended = tokio::task::spawn_blocking(move || victim.output().unwrap());
    let ended = within("the victim's end", ended).await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended.status), Some(9), "{ended:?}");
    let proofs = server.hostile().proof_counts();
    assert_eq!((proofs.server_challenges, server.hostile().counts().rotations), (1, 0));

    let host = Host::over(store(&home), &server.resource_url(), Dpop::Off).await;
    host.renewed().await.unwrap();
    assert_eq!((host.key().await, host.send().await.unwrap()), (key, 200));
    let (counts, proofs) = (server.hostile().counts(), server.hostile().proof_counts());
    assert_eq!((counts.rotations, counts.replays, counts.refusals.len()), (1, 0, 0));
    assert_eq!((proofs.server_challenges, proofs.replays, proofs.bearer), (2, 0, 0));
}
