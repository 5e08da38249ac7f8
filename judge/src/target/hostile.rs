//! The built-in server, which is the testkit's hostile authorization server in this process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_testkit::hostile::{self, ChainId, HostileAs, Rotation, Rules};

use super::events::{EndpointEvent, EndpointEventKind, EndpointLog};
use super::{ANSWER_DELAY, TargetCounts, TargetLogin};
use crate::storm::{RequestFault, passing_faults};

/// How long a spent refresh token may be presented again where faults pass. Okta and WorkOS have this grace period.
const GRACE: Duration = Duration::from_secs(30);

pub(crate) struct HostileTarget {
    server: HostileAs,
    resource: String,
    log: Arc<EndpointLog>,
    chain: Option<ChainId>,
    /// The number of events in the server's timeline before recording began.
    skipped: usize,
}

impl HostileTarget {
    pub(super) async fn start(access_lifetime: Duration) -> io::Result<Self> {
        let rules = Rules { access_lifetime, answer_delay: ANSWER_DELAY, ..Rules::default() };
        let server = HostileAs::start_with(rules).await?;
        let resource = server.resource();
        Ok(Self { server, resource, log: Arc::new(EndpointLog::new()), chain: None, skipped: 0 })
    }

    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    pub(super) fn log(&self) -> Arc<EndpointLog> {
        Arc::clone(&self.log)
    }

    pub(super) fn sign_in(&mut self) -> TargetLogin {
        let hostile::Grant { chain, binding, scope, refresh_token, access_token, lifetime, .. } = self.server.grant();
        self.chain = Some(chain);
        TargetLogin { binding, scope, access: access_token, refresh: refresh_token, lifetime }
    }

    pub(super) fn advance(&self, time: Duration) {
        self.server.advance(time);
    }

    pub(super) fn kill_access_tokens(&self) {
        self.server.kill_access_tokens();
    }

    /// Replaces the fault before.
    pub(super) fn inject_fault(&self, fault: RequestFault) {
        self.server.calm();
        if let Some((when, fault)) = fault.at_server() {
            self.server.next(when, fault);
        }
    }

    pub(super) fn inject_passing_faults(&self, seed: u64) {
        self.server.rules(|rules| rules.rotation = Rotation::Grace(GRACE));
        self.server.in_turn(passing_faults(seed));
    }

    pub(super) fn counts(&self) -> TargetCounts {
        let counts = self.server.counts();
        TargetCounts {
            token_requests: counts.token_requests,
            arrived: counts.token_requests,
            most_concurrent: counts.most_concurrent,
            rotations: counts.rotations,
            replays: counts.replays,
            faults: counts.faults,
            chains_revoked: counts.chains_revoked,
            alive: self.chain.is_some_and(|chain| self.server.is_alive(chain)),
        }
    }

    pub(super) fn record(&mut self) {
        self.skipped = self.server.snapshot().timeline.len();
    }

    pub(super) fn recorded(&self) -> Vec<EndpointEvent> {
        let timeline = self.server.snapshot().timeline;
        timeline.iter().skip(self.skipped).filter_map(event).collect()
    }
}

fn event(event: &hostile::Event) -> Option<EndpointEvent> {
    let kind = match (event.what, event.status) {
        (hostile::What::TokenRequest, _) => EndpointEventKind::Request,
        (hostile::What::Rotated, _) => EndpointEventKind::Rotated,
        (hostile::What::Replayed, _) => EndpointEventKind::Replayed,
        (hostile::What::ChainRevoked, _) => EndpointEventKind::Revoked,
        (hostile::What::Refused, _) => EndpointEventKind::Refused,
        (hostile::What::Faulted, _) => EndpointEventKind::Fault,
        (hostile::What::TokenAnswer, _) => EndpointEventKind::Answer,
        (hostile::What::ResourceAnswer, Some(200)) => EndpointEventKind::Served,
        (hostile::What::ResourceAnswer, Some(401)) => EndpointEventKind::Unauthorized,
        _ => return None,
    };
    Some(EndpointEvent { at: event.at, kind })
}
