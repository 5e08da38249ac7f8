//! A server to which no connection can be established for a while.

use std::net::SocketAddr;

use tokenkeeper::Reason;
use tokenkeeper_testkit::hostile::{Grant, HostileAs};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::scene::Scene;
use crate::support::{LONGEST_PAUSE, PATIENCE};

/// The most attempts for one cohort.
const MAX_ATTEMPTS: u32 = 8;

/// A port before a server. It refuses connections until it is opened.
struct Door {
    address: SocketAddr,
    socket: TcpSocket,
}

impl Door {
    fn shut() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { address: socket.local_addr().unwrap(), socket }
    }

    /// This login, with its token endpoint behind the door.
    fn before(&self, grant: &Grant) -> Grant {
        let mut grant = grant.clone();
        grant.binding.token_endpoint = format!("http://{}/token", self.address);
        grant
    }

    /// Forwards connections to `server`, as long as the set lives.
    fn open(self, server: &HostileAs) -> JoinSet<()> {
        let (listener, server) = (self.socket.listen(64).unwrap(), server.address());
        let mut tasks = JoinSet::new();
        #[expect(clippy::disallowed_methods, reason = "a task that ends with its set")]
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut server = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
            }
        });
        tasks
    }
}

async fn behind(door: &Door) -> Scene {
    let scene = Scene::new().await;
    let grant = door.before(&scene.server.grant());
    scene.host.sign_in(&grant).await.unwrap();
    Scene { grant, ..scene }
}

#[tokio::test]
async fn a_server_that_is_back_in_time_costs_one_request() {
    let door = Door::shut();
    let scene = behind(&door).await;
    let mut pauses = scene.pauses();
    let comes_back = async {
        for _ in 0..3 {
            assert_eq!(pauses.next().await, Reason::Unreachable);
            // The mark is withdrawn before each pause.
            assert_eq!(scene.host.mark().await, None);
            scene.host.skip(LONGEST_PAUSE).await;
        }
        assert_eq!(pauses.next().await, Reason::Unreachable);
        let open = door.open(&scene.server);
        scene.host.skip(LONGEST_PAUSE).await;
        open
    };
    let (token, _open) = tokio::join!(scene.ask(PATIENCE), comes_back);
    assert!(token.is_ok(), "{token:?}");
    scene.assert_counts((1, 1, 0), "back").await;
    scene.assert_whole(1, "back").await;
}

#[tokio::test]
async fn a_server_that_stays_away_costs_no_request_and_no_session() {
    let door = Door::shut();
    let scene = behind(&door).await;
    let pauses = scene.pauses();
    let (outcome, ()) = tokio::join!(scene.ask(20 * LONGEST_PAUSE), pauses.skip(MAX_ATTEMPTS - 1, Reason::Unreachable));
    let (reason, retry_after) = outcome.unwrap_err();
    assert_eq!((reason, retry_after.is_some()), (Reason::Unreachable, true));
    assert_eq!((scene.server.counts().token_requests, scene.host.mark().await), (0, None));
    // A caller that takes the first failure learns of it without a pause.
    scene.pass(LONGEST_PAUSE);
    assert!(matches!(scene.ask_fast().await, Err((Reason::Unreachable, Some(_)))));
    scene.pass(LONGEST_PAUSE);
    let _open = door.open(&scene.server);
    assert!(scene.ask_fast().await.is_ok());
    scene.assert_counts((1, 1, 0), "back").await;
    scene.assert_whole(1, "back").await;
}
