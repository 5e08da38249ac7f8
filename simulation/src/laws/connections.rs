//! Laws 8, 10 and 13 for connections. A flight connects with its claim, marks once the connection stands, and sends over no
//! connection to another endpoint.

use tokenkeeper_actors::law::flight::{ConnectFault, Op, TokenRequest};
use tokenkeeper_actors::law::profile::NotSent;
use tokenkeeper_actors::values::record::Record;
use tokenkeeper_actors::values::{FlightId, Reason, RenewalPlan};

use crate::process::{Connection, Pid};
use crate::tally::Kind;
use crate::world::{Asker, World};

impl Connection {
    fn leads_to(&self, endpoint: &str, plan: &RenewalPlan) -> bool {
        self.endpoint == endpoint && self.plan == *plan
    }
}

impl World {
    /// A flight asks for a connection.
    pub(crate) fn check_connect(&mut self, pid: Pid, flight: FlightId) {
        let Some(run) = self.run_of(Asker::Flight(pid, flight)) else { return };
        let (name, claimed, repeatable) = (run.name, run.facts.claim.is_some(), self.config.repeatable());
        if !claimed || repeatable {
            self.breach("2", "a flight connects without a claim or a token to present", || format!("f{name}"));
        }
    }

    /// Notes whether the connection stands.
    pub(crate) fn note_connected(&mut self, pid: Pid, flight: FlightId, op: Op, answer: Result<(), ConnectFault>) {
        let t = self.t;
        let Some(run) = self.run_mut(Asker::Flight(pid, flight)) else { return };
        let identity = run.identity;
        if let Some(connection) = run.facts.connection.as_mut().filter(|connection| connection.op == op) {
            connection.stands = answer.is_ok();
        }
        let reason = match answer {
            Ok(()) => return self.count(Kind::Connected),
            Err(ConnectFault::NotSent(NotSent::Unbuildable)) => Reason::RequestRefused,
            Err(ConnectFault::NotSent(_)) => Reason::Unreachable,
            Err(ConnectFault::Throttled(_)) => Reason::Throttled,
        };
        self.processes[pid.process].slots[identity].known.meet(reason, t);
        self.count(Kind::Unconnected);
    }

    /// A flight requests its mark on `record`.
    pub(crate) fn check_marked_connection(&mut self, asker: Asker, record: Option<&Record>) {
        let Some(run) = self.run_of(asker) else { return };
        let grant = record.and_then(Record::grant);
        let stands = run.facts.connection.as_ref().is_some_and(|connection| {
            let leads = grant.is_none_or(|grant| connection.leads_to(&grant.binding.token_endpoint, &grant.renewal));
            connection.stands && leads
        });
        if !stands {
            let (name, connection) = (run.name, run.facts.connection.clone());
            self.breach("10", "a token is marked before its connection stands", || format!("f{name}: {connection:?}"));
        }
    }

    /// A flight orders its source to send over `connection`.
    pub(crate) fn check_connection(
        &mut self,
        pid: Pid,
        flight: FlightId,
        request: &TokenRequest,
        connection: Option<Op>,
    ) {
        let Some(op) = connection else { return };
        let Some(run) = self.run_mut(Asker::Flight(pid, flight)) else { return };
        let (name, known) = (run.name, run.facts.connection.take());
        let endpoint = request.grant.as_ref().map_or("", |grant| &grant.binding.token_endpoint);
        let right = known
            .as_ref()
            .is_some_and(|known| known.op == op && known.stands && known.leads_to(endpoint, &request.renewal));
        if !right {
            self.breach("13", "a request goes over another connection", || format!("f{name}: {op:?}, {known:?}"));
        }
    }
}
