//! The fate of lineages after a lost answer, under the law and under the rule before it. The report compares them.
//!
//! The rule before waited for the time-out of the request, presented the token a second time, and then gave up. Its results
//! are worked out from the server's kind, the fault and the time. Those of the law are observed.

use tokenkeeper_actors::law::profile::Reuse;
use tokenkeeper_actors::values::KeyedDigest;

use crate::Millis;
use crate::config::ServerKind;
use crate::plan::ServerTrouble;
use crate::process::Pid;
use crate::server::End;
use crate::world::World;

/// The time after which the rule before presented a token again. That is its time-out of a request, and the writes around
/// it.
const OLD_WAIT: Millis = 38_000;

/// A refresh token whose answer was lost, until its fate is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LostAnswer {
    rt: usize,
    request: usize,
    /// The end of the fault.
    over: Millis,
}

/// Whether a lineage survives under the rule before. The first request left at `sent`, and was processed at `processed`
/// if it was. The fault is over at `over`.
fn survives_by_the_old_rule(kind: ServerKind, sent: Millis, processed: Option<Millis>, over: Millis) -> bool {
    let second = sent + OLD_WAIT;
    // The second answer is lost, too.
    if second < over {
        return false;
    }
    // The rule before took any answer for the end of the doubt. Without a new token, the spent one went out next.
    processed.is_none_or(|at| kind.forgives(second.saturating_sub(at), false) && kind.brings_successor())
}

impl World {
    /// The answer to a request is lost.
    pub(crate) fn answer_lost(&mut self, request: usize) {
        let lost = &self.requests[request];
        let counted = self.config.profile.reuse == Reuse::EndsLineage && !lost.excused && !self.config.repeatable();
        let Some(rt) = lost.rt.filter(|_| counted && lost.sent.is_some()) else { return };
        if self.lost_answers.iter().any(|other| other.rt == rt) {
            return;
        }
        let loses =
            |kind: ServerTrouble| !matches!(kind, ServerTrouble::Slow | ServerTrouble::Late | ServerTrouble::Throttles);
        let troubles = self.server_troubles.iter().filter(|(kind, until)| loses(*kind) && *until > self.t);
        let over = troubles.map(|(_, until)| *until).max().unwrap_or(self.t);
        self.lost_answers.push(LostAnswer { rt, request, over });
    }

    /// A process has died, with its requests in flight.
    pub(crate) fn answers_lost(&mut self, pid: Pid) {
        let in_flight = |id: &usize| {
            let request = &self.requests[*id];
            request.pid == pid && request.sent.is_some() && !request.delivered
        };
        let in_flight: Vec<usize> = (0..self.requests.len()).filter(in_flight).collect();
        in_flight.into_iter().for_each(|request| self.answer_lost(request));
    }

    /// A refresh token was replaced in the store, refused, or withdrawn from service. Notes the fate of its lineage.
    pub(crate) fn note_fate(&mut self, sent: KeyedDigest, survived: bool) {
        let matches = |world: &Self, lost: &LostAnswer| world.server.rts[lost.rt].credential.digest() == sent;
        let Some(place) = self.lost_answers.iter().position(|lost| matches(self, lost)) else { return };
        let LostAnswer { rt, request, over } = self.lost_answers.remove(place);
        let lineage = self.server.rts[rt].lineage;
        if matches!(
            self.server.lineages[lineage].ended,
            Some(End::Whim | End::Revoked | End::Swept | End::Reauthorized)
        ) {
            // It ended for another reason.
            return;
        }
        let kind = self.config.server.kind;
        let (sent, processed) = (self.requests[request].sent.unwrap_or_default(), self.requests[request].processed);
        let spent = processed.is_some() && self.server.rts[rt].spent.is_some();
        self.tally.survival(kind, spent, survives_by_the_old_rule(kind, sent, processed, over), survived);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_rule_loses_all_but_what_was_not_processed_or_is_forgiven_for_long() {
        let survivors = |processed: Option<Millis>, over: Millis| {
            let survives = |kind: &ServerKind| survives_by_the_old_rule(*kind, 1_000, processed, over);
            ServerKind::ALL.into_iter().filter(survives).map(|kind| kind.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(survivors(None, 2_000).len(), ServerKind::ALL.len());
        assert_eq!(survivors(None, 60_000), Vec::<String>::new(), "the second answer is lost, too");
        assert_eq!(
            survivors(Some(1_100), 2_000),
            ["valid until the successor was used", "same answer again", "never rotates"]
        );
    }
}
