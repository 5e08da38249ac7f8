//! Faults of a token endpoint that pass.
use super::line::{End, Line};
use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The bytes of the half answer, its head included. Less than the length of an answer's access token.
const HALF: usize = 450;

/// A deviation from the usual answer, for one request. All faults but [`Slow`](Fault::Slow) and [`Lost`](Fault::Lost)
/// leave the refresh token as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// 503 with a page of HTML.
    #[serde(rename = "503")]
    Unavailable,
    /// The connection is reset instead of an answer.
    Reset,
    /// 429 with `Retry-After: 1`.
    #[serde(rename = "429")]
    Throttled,
    /// The refresh token is rotated. The answer is whole and comes late.
    Slow,
    /// The connection ends in the middle of the answer.
    Half,
    /// The refresh token is rotated, and the connection is reset instead of an answer. The server answers the old refresh
    /// token with the same successor once more, for as long as its grace lasts.
    Lost,
}

impl Fault {
    pub const ALL: [Fault; 6] =
        [Fault::Unavailable, Fault::Reset, Fault::Throttled, Fault::Slow, Fault::Half, Fault::Lost];

    pub fn word(self) -> &'static str {
        match self {
            Fault::Unavailable => "503",
            Fault::Reset => "reset",
            Fault::Throttled => "429",
            Fault::Slow => "slow",
            Fault::Half => "half",
            Fault::Lost => "lost",
        }
    }

    /// Whether the request has its usual effect on the refresh token.
    pub fn rotates(self) -> bool {
        matches!(self, Fault::Slow | Fault::Lost)
    }

    /// The additional delay of the answer.
    pub fn delay(self, slow: Duration) -> Duration {
        if self == Fault::Slow { slow } else { Duration::ZERO }
    }

    /// The answer on `line` in place of `usual`.
    pub fn answer(self, line: &Line, usual: Response) -> Response {
        match self {
            Fault::Unavailable => {
                let page = "<html><body><h1>503 Service Unavailable</h1></body></html>";
                (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "text/html")], page).into_response()
            }
            Fault::Reset | Fault::Lost => {
                line.end(End { after: 0, reset: true });
                usual
            }
            Fault::Throttled => {
                let body = Json(serde_json::json!({"error": "temporarily_unavailable"}));
                (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], body).into_response()
            }
            Fault::Slow => usual,
            Fault::Half => {
                line.end(End { after: HALF, reset: false });
                usual
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Env, server};

    /// Each fault reaches a client as it is described, and the token request after it is answered with tokens.
    #[tokio::test(flavor = "multi_thread")]
    async fn each_fault_passes() {
        let env = Env::at(server::spawn().await);
        for fault in Fault::ALL {
            let seed = env.new_family(&format!("slow_ms=50&grace_ms=60000&fault={}", fault.word())).await;
            let request = || {
                let form = [("grant_type", "refresh_token"), ("refresh_token", &*seed.refresh_token)];
                env.http.post(env.token_url(seed.fam)).form(&form).send()
            };
            let refused = match fault {
                Fault::Unavailable => request().await.unwrap().status() == 503,
                Fault::Throttled => {
                    let answer = request().await.unwrap();
                    answer.status() == 429 && answer.headers()["retry-after"] == "1"
                }
                Fault::Reset | Fault::Lost => request().await.unwrap_err().is_request(),
                Fault::Half => {
                    let answer = request().await.unwrap();
                    answer.status() == 200 && answer.bytes().await.is_err()
                }
                Fault::Slow => request().await.unwrap().bytes().await.unwrap().len() < HALF,
            };
            assert_eq!(refused, fault != Fault::Slow, "{fault:?}");
            let stat = env.stat(seed.fam).await;
            assert_eq!((stat.faulted, stat.refreshes_ok), (1, u64::from(fault.rotates())), "{fault:?}");
            if fault != Fault::Slow {
                assert_eq!(request().await.unwrap().status(), 200, "{fault:?}");
                assert!(!env.stat(seed.fam).await.revoked, "{fault:?}");
            }
            // The successor is out, so the old token is spent, except in its grace.
            assert_eq!(request().await.unwrap().status() == 200, fault == Fault::Lost, "{fault:?}");
        }
    }
}
