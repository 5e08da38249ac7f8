//! The built-in server: the hostile one of the test kit, in this process.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokenkeeper_testkit::hostile::{self, ChainId, HostileAs, Rules};

use super::super::faults::Weather;
use super::log::{Log, Sighting, What};
use super::{ANSWER_DELAY, Grant, Tally};

pub(in super::super) struct Hostile {
    server: HostileAs,
    resource: String,
    log: Arc<Log>,
    chain: Option<ChainId>,
    /// How many events of its timeline are from before.
    before: usize,
}

impl Hostile {
    pub(super) async fn start(access_lifetime: Duration) -> io::Result<Self> {
        let rules = Rules { access_lifetime, answer_delay: ANSWER_DELAY, ..Rules::default() };
        let server = HostileAs::start_with(rules).await?;
        let resource = server.resource();
        Ok(Self { server, resource, log: Arc::new(Log::new()), chain: None, before: 0 })
    }

    pub(super) fn resource(&self) -> &str {
        &self.resource
    }

    pub(super) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    pub(super) fn grant(&mut self) -> Grant {
        let hostile::Grant { chain, binding, scope, refresh_token, access_token, lifetime, .. } = self.server.grant();
        self.chain = Some(chain);
        Grant { binding, scope, access: access_token, refresh: refresh_token, lifetime }
    }

    pub(super) fn advance(&self, time: Duration) {
        self.server.advance(time);
    }

    pub(super) fn kill_access_tokens(&self) {
        self.server.kill_access_tokens();
    }

    pub(super) fn brew(&self, weather: Weather) {
        self.server.calm();
        if let Some((when, fault)) = weather.fault() {
            self.server.next(when, fault);
        }
    }

    pub(super) fn tally(&self) -> Tally {
        let counts = self.server.counts();
        Tally {
            token_requests: counts.token_requests,
            most_concurrent: counts.most_concurrent,
            rotations: counts.rotations,
            replays: counts.replays,
            chains_revoked: counts.chains_revoked,
            alive: self.chain.is_some_and(|chain| self.server.is_alive(chain)),
        }
    }

    pub(super) fn watch(&mut self) {
        self.before = self.server.snapshot().timeline.len();
    }

    pub(super) fn seen(&self) -> Vec<Sighting> {
        let timeline = self.server.snapshot().timeline;
        timeline.iter().skip(self.before).filter_map(sighting).collect()
    }
}

fn sighting(event: &hostile::Event) -> Option<Sighting> {
    let what = match (event.what, event.status) {
        (hostile::What::TokenRequest, _) => What::Request,
        (hostile::What::Rotated, _) => What::Rotated,
        (hostile::What::Replayed, _) => What::Replayed,
        (hostile::What::ChainRevoked, _) => What::Revoked,
        (hostile::What::Refused, _) => What::Refused,
        (hostile::What::Faulted, _) => What::Fault,
        (hostile::What::TokenAnswer, _) => What::Answer,
        (hostile::What::ResourceAnswer, Some(200)) => What::Served,
        (hostile::What::ResourceAnswer, Some(401)) => What::Unauthorized,
        _ => return None,
    };
    Some(Sighting { at: event.at, what })
}
