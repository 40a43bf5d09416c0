//! The fair future of a state: no more faults, everybody gets their turn, whatever is under way lands. Liveness as an
//! invariant: checkers of cycles and joins are not needed, since this future is one path.

use super::driver::Closing;
use super::state::{Action, At, Budget, History, State};
use releaseclosure_core::reason::Reason;
use stateright::Model as _;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// Most passes that a state needs to its end.
const PASSES: usize = 8;

/// Most requests and other steps that those take together; a pass that goes round in itself has no end either.
const STEPS: usize = 50 * PASSES;

/// How a future ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Future {
    Closed,
    Abandoned,
    Halted(Reason),
}

impl Closing {
    /// How the fair future of a state ends; none where it does not within [`PASSES`], or does not rest.
    pub fn future(&self, state: &State) -> Option<Future> {
        // What has happened and what might have decides nothing in a future in which nothing happens.
        let mut state = State { left: Budget::default(), history: History::default(), before: state.records, ..*state };
        let mut path = Vec::new();
        let mut passes = 0;
        let end = loop {
            let key = BuildHasherDefault::<DefaultHasher>::default().hash_one(state);
            if let Some(known) = self.futures.get(&key) {
                break known;
            }
            path.push(key);
            let busy = self.replicas().find(|replica| state.is_busy(*replica));
            let action = match busy {
                _ if state.flight.is_some() => Action::Land,
                Some(replica) => match self.next_of(&state, replica) {
                    Some(action) => action,
                    None => break None,
                },
                None => match self.rest(&state) {
                    Some(end) => break Some(end),
                    None => self.turn(&state),
                },
            };
            passes += usize::from(matches!(action, Action::Begin(_)));
            if passes > PASSES || path.len() > STEPS || self.act(&mut state, action).is_none() {
                break None;
            }
            (state.history, state.left, state.before) = (History::default(), Budget::default(), state.records);
        };
        for key in path {
            self.futures.put(key, end);
        }
        end
    }

    /// Whose turn it is where everybody is idle: time passes first for whoever waits for it.
    fn turn(&self, state: &State) -> Action {
        let replica = if self.scope.lease { state.leader } else { 0 };
        if self.may_settle(state, replica) { Action::Settle(replica) } else { Action::Begin(replica) }
    }

    /// The end, where a further pass changes nothing at all.
    fn rest(&self, state: &State) -> Option<Future> {
        let object = state.object;
        let end = match object.stored.1.halt {
            _ if object.finished => {
                let closed = object.standing == super::engine::Standing::Closed;
                if closed { Future::Closed } else { Future::Abandoned }
            }
            Some((halt, cause))
                if state.packet.is_some_and(|packet| packet.halt == halt && packet.answer.is_none()) =>
            {
                Future::Halted(cause)
            }
            Some(_) | None => return None,
        };
        let still = self.replicas().all(|replica| {
            let at_rest = self.next_of(state, replica).and_then(|action| self.next_state(state, action));
            at_rest.is_none_or(|next| next.object == state.object && next.replicas.iter().all(|one| one.at == At::Idle))
        });
        still.then_some(end)
    }

    /// Whether this end is right for what has happened so far.
    pub fn is_right_end(&self, state: &State, end: Future) -> bool {
        match end {
            Future::Closed | Future::Abandoned => true,
            Future::Halted(cause) => self.may_halt(&state.history, cause),
        }
    }
}
