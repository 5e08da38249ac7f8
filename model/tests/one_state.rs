//! States with the same key have the same successors. Two paths to one key lead to the same keys one step later. So it
//! does not matter which of the states the check continues from (module `identity`).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::Model;
use tokenkeeper_actors::law::profile::Reuse;
use tokenkeeper_model::{Bounds, Claims, Config, State, TwoProcesses};

fn key(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// The successors of a state, without duplicates, in a fixed order.
fn following(model: &TwoProcesses, state: &State) -> Vec<(u64, State)> {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    let states = actions.into_iter().filter_map(|action| model.next_state(state, action));
    let mut keyed: Vec<_> = states.map(|state| (key(&state), state)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.dedup_by_key(|(key, _)| *key);
    keyed
}

/// Explores all paths. Returns the number of states.
fn explore(config: Config) -> usize {
    let model = TwoProcesses::new(config.clone());
    let mut known: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut left: Vec<(u64, State)> = model.init_states().into_iter().map(|state| (key(&state), state)).collect();
    while let Some((key, state)) = left.pop() {
        let following = following(&model, &state);
        let keys: Vec<u64> = following.iter().map(|(key, _)| *key).collect();
        match known.get(&key) {
            Some(first) => assert_eq!(*first, keys, "{}: another way to\n{state:?}goes on differently", config.name()),
            None => {
                known.insert(key, keys);
                left.extend(following);
            }
        }
    }
    known.len()
}

#[test]
fn one_state_goes_on_as_one_with_locks_of_the_kernel() {
    let bounds = Bounds { crashes: 1, lost_answers: 1, ..Bounds::CALM };
    assert_eq!(explore(Config::new(Reuse::EndsLineage, Claims::Kernel, bounds)), 13_101);
}

#[test]
fn one_state_goes_on_as_one_with_leases() {
    let bounds = Bounds { claim_losses: 2, ..Bounds::CALM };
    assert_eq!(explore(Config::new(Reuse::EndsLineage, Claims::LEASED, bounds)), 21_586);
}

#[test]
fn one_state_goes_on_as_one_after_a_login() {
    let bounds = Bounds { flights: 1, ..Bounds::STATED };
    assert_eq!(explore(Config::new(Reuse::EndsLineage, Claims::LEASED, bounds)), 22_938);
}

#[test]
fn one_state_goes_on_as_one_after_a_pause() {
    let bounds = Bounds { flights: 1, claim_losses: 1, lost_answers: 1, late_requests: 1, pauses: 1, ..Bounds::CALM };
    assert_eq!(explore(Config::new(Reuse::EndsLineage, Claims::LEASED, bounds)), 26_014);
}
