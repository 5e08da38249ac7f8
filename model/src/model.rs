//! The model, with its initial state, steps and properties.

use std::sync::Arc;

use stateright::{Model, Property};
use tokenkeeper_actors::law::flight::Equipment;
use tokenkeeper_actors::values::record::{
    Access, Binding, Client, ClientAuth, Content, DeadDigests, Grant, Held, Issuer, Record, Refresh,
};
use tokenkeeper_actors::values::{
    AccessToken, Cause, Epoch, Moment, RenewalPlan, Revision, Scopes, TokenKind, Validity,
};

use crate::actions::Action;
use crate::config::Config;
use crate::laws::Law;
use crate::reading::Names;
use crate::server::Server;
use crate::session::Session;
use crate::sightings::Sightings;
use crate::state::State;
use crate::store::Store;

/// Two processes, each with a session of the same identity, over one store and one authorization server.
#[derive(Debug)]
pub struct TwoProcesses {
    /// The configuration of the check.
    pub config: Config,
    /// The events seen so far.
    pub sightings: Arc<Sightings>,
    pub(crate) equipment: Arc<Equipment>,
    pub(crate) names: Names,
}

impl TwoProcesses {
    /// The model of `config`.
    pub fn new(config: Config) -> Self {
        let equipment = Arc::new(config.equipment());
        let names = Names::new(&equipment.digests);
        Self { config, sightings: Arc::default(), equipment, names }
    }

    /// The record of a login that was just installed.
    fn first_record(&self, server: &mut Server) -> Record {
        let credential = server.sign_in().credential(&self.equipment.digests);
        let (at, kind) = (Moment::default(), TokenKind::Bearer);
        let access = Access {
            token: AccessToken::new("at"),
            kind,
            validity: Validity::new(at, None),
            number: 1,
            cause: Cause::Login,
            flight: None,
        };
        let grant = Grant {
            binding: binding(),
            requested: Scopes::default(),
            granted: Scopes::default(),
            subject: None,
            dpop_key: None,
            renewal: RenewalPlan::default(),
            refresh: Refresh::Held(Held { credential, since: at, mark: None }),
            access: Some(access),
            parked: None,
            signed_in: None,
            rotated: false,
        };
        Record {
            epoch: Epoch::new(1),
            revision: Revision::new(1),
            number: 1,
            dead: DeadDigests::default(),
            content: Content::Grant(Box::new(grant)),
            prompt: None,
        }
    }
}

/// The binding of all grants.
pub(crate) fn binding() -> Binding {
    let client = Client { id: "c".to_owned(), secret: None, auth: ClientAuth::None, secret_expires_at: None };
    let issuer = Issuer("i".to_owned());
    Binding { issuer, client, token_endpoint: String::new(), revocation_endpoint: None, resource: None }
}

impl Model for TwoProcesses {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut server = Server::new();
        let record = self.first_record(&mut server);
        let session = || Session::new(self.config.bounds.flights, 0, record.view(), Default::default());
        let sessions = [session(), session()];
        vec![State::new(sessions, Store::new(record.clone()), server, self.config.bounds, &self.names)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.sightings.expand();
        state.actions(&self.config, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        Some(crate::step::step(self, last, &action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($law:ident)*) => {
                vec![$(Property::always(Law::$law.name(), |model: &Self, state: &State| {
                    state.broken != Some(Law::$law) || !model.sightings.is_news(Law::$law)
                })),*]
            };
        }
        always!(OneSpend OneClaim NoKnowingReplay MarkedFirst Presentations ReplayInTime Unrevoked DoubtStays Epochs
            Growth WinnersStay NothingLost LandsOnce NothingHangs)
    }
}
