//! Connections. Each is established or not, and answered or not.

use tokenkeeper_actors::law::flight::{ConnectFault, FlightEvent, Op};
use tokenkeeper_actors::law::profile::NotSent;
use tokenkeeper_actors::ports::observer::EffectName;
use tokenkeeper_actors::values::FlightId;
use tokenkeeper_actors::values::record::Grant;

use super::{Item, World};
use crate::plan::{ServerTrouble, When};
use crate::process::{Connection, Pid};
use crate::rng::For;

/// A flight's request for a connection, with its answer.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) pid: Pid,
    flight: FlightId,
    op: Op,
    answer: Result<(), ConnectFault>,
}

impl World {
    pub(crate) fn begin_connect(&mut self, pid: Pid, flight: FlightId, op: Op, grant: &Grant, key: u64) {
        self.check_connect(pid, flight);
        let mut rng = self.rng(For::Connect, key);
        let (elapsed, weather) = (self.moment(pid.process).elapsed, self.weather());
        let trouble =
            |kind| !self.healed && self.server_troubles.iter().any(|(other, until)| *other == kind && *until > self.t);
        let slow = rng.chance(weather.sluggish) || trouble(ServerTrouble::Slow);
        let delay = rng.between(1, 40) + if slow { rng.pick(&[400, 3_000, 9_000, 11_000]) } else { 0 };
        let process = &self.processes[pid.process];
        let Some(run) = process.flights.get(&flight) else { return };
        let throttled = process.permits.throttled.get(&run.order.issuer).filter(|until| **until > elapsed);
        let (answer, wait) = match throttled {
            // The driver does not connect to an issuer that was throttled after the permit.
            Some(until) if run.facts.sends == 0 => (Err(ConnectFault::Throttled(until.since(elapsed))), 0),
            _ if rng.chance(weather.net_unreachable) || trouble(ServerTrouble::Unreachable) => {
                let why = rng.weigh(&[(4, NotSent::Unreachable), (1, NotSent::Unbuildable)]);
                (Err(ConnectFault::NotSent(why)), rng.pick(&[0, 4, 2_000]))
            }
            _ => (Ok(()), delay),
        };
        let (hangs, repeats) = (rng.chance(weather.net_loses / 4), rng.chance(weather.net_loses));
        if let Some(run) = self.processes[pid.process].flights.get_mut(&flight) {
            let (endpoint, plan) = (grant.binding.token_endpoint.clone(), grant.renewal.clone());
            run.facts.connection = Some(Connection { op, endpoint, plan, stands: false });
        }
        self.connects.push(Connect { pid, flight, op, answer });
        let item = Item::Connected(self.connects.len() - 1);
        if !hangs {
            self.queue.push(self.t + wait, item);
        }
        if repeats {
            self.queue.push(self.t + wait + rng.below(2_000), item);
        }
    }

    /// The source reports whether the connection stands.
    pub(crate) fn connected(&mut self, id: usize) {
        let Connect { pid, flight, op, answer } = self.connects[id];
        if self.spring(pid, flight, EffectName::Connect, When::Done) {
            return self.queue.push(self.t, Item::Connected(id));
        }
        self.tell(
            || format!("p{}", pid.process),
            |world| format!("{}: #{} is connected: {answer:?}", world.flight_name(pid, flight), op.0),
        );
        self.note_connected(pid, flight, op, answer);
        self.tell_flight(pid, flight, FlightEvent::Connected(op, answer));
    }
}
