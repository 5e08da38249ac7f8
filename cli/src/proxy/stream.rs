//! The standing stream, on which a server of the wire of 2025 sends messages that belong to no request.

use std::time::Duration;

use super::relay::MessageRelay;
use crate::wire::session::SessionNumber;
use crate::wire::unanswered::Unanswered;

/// The default pause before the stream is opened again, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The shortest pause that a server may name.
const MIN_PAUSE: Duration = Duration::from_millis(20);

impl MessageRelay {
    /// Keeps a standing stream open in each MCP session, until the server shows that it has none.
    ///
    /// # Cancellation
    ///
    /// Dropping the future closes the stream.
    pub(super) async fn stand(&self) {
        let mut ready = self.session.ready();
        loop {
            let Ok(mcp_session) = ready.wait_for(Option::is_some).await.map(|mcp_session| *mcp_session) else { return };
            let Some(number) = mcp_session else { continue };
            tokio::select! {
                () = self.stand_in(number) => {
                    if ready.wait_for(|now| *now != mcp_session).await.is_err() {
                        return;
                    }
                }
                moved = async { ready.wait_for(|now| *now != mcp_session).await.map(drop) } => if moved.is_err() {
                    return;
                }
            }
        }
    }

    /// Keeps the stream of one MCP session open. Returns if the server has none.
    #[expect(clippy::disallowed_methods, reason = "pauses between whole requests")]
    async fn stand_in(&self, mcp_session: SessionNumber) {
        let session_headers = self.session.headers();
        let (mut last_id, mut asked, mut pause) = (None, None, PAUSES.0);
        let mut has_waited = false;
        loop {
            let answer = self.get(&session_headers, last_id.as_deref()).await;
            let lacks_login = matches!(&answer, Err(refusal) if refusal.is_login_required());
            if lacks_login {
                if self.wire.session().signed_in().await.is_err() {
                    return;
                }
                // If the request still lacks a login although the session is signed in, it is repeated after a pause.
                if !std::mem::replace(&mut has_waited, true) {
                    continue;
                }
            }
            has_waited &= lacks_login;
            match answer {
                Ok(answer) if answer.status.is_success() && answer.has_events() => {
                    let mut events = answer.events();
                    while let Ok(Some(event)) = events.next().await {
                        pause = PAUSES.0;
                        self.pass(&event).await;
                    }
                    last_id = events.last_id().map(<[u8]>::to_vec).or(last_id);
                    asked = events.retry().or(asked);
                }
                Ok(answer) => match answer.status.as_u16() {
                    // The new MCP session gets its own stream.
                    404 if session_headers.has_session() => match self.reopen(mcp_session).await {
                        Ok(()) => return,
                        Err(_) if self.session.headers().number != mcp_session => return,
                        Err(_) => {}
                    },
                    429 | 500.. => asked = answer.retry_after().or(asked),
                    // The specification has 405 for a server without such a stream. Some servers answer 400, or send a page.
                    _ => return,
                },
                Err(Unanswered::Call(error)) if !error.is_transient() && !lacks_login => return,
                Err(_) => {}
            }
            tokio::time::sleep(asked.map_or(pause, |asked| asked.max(MIN_PAUSE))).await;
            if asked.is_none() {
                pause = PAUSES.1.min(pause * 2);
            }
        }
    }
}
