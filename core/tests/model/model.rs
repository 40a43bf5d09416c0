//! What can happen in a state, and what it costs.

use super::driver::Closing;
use super::engine::{Answer, Order, Standing};
use super::properties;
use super::state::{
    Action, At, Budget, History, Look, Object, Question, Remembered, Replica, Sending, State, Working, Write,
};
use super::world::{Records, flag};
use releaseclosure_core::ids::{Step, System};
use releaseclosure_core::ledger::Handoff;
use releaseclosure_core::reason::Reason;
use stateright::{Model, Property};

/// Writes to the API server that go wrong.
const LOST: [Write; 2] = [Write::RequestLost, Write::ReplyLost];

impl Closing {
    /// The state in which nothing has happened.
    pub fn first(&self) -> State {
        let stored = self.engine.empty();
        let records = Records::fresh();
        let idle = Replica { at: At::Idle, remembered: Remembered::default() };
        State {
            records,
            before: records,
            announced: 0,
            knows_key: false,
            late: false,
            flight: None,
            object: Object { uid: 0, stored, standing: Standing::New, finished: false },
            packet: None,
            replicas: [idle; 2],
            leader: 0,
            left: self.scope.budget,
            history: History::default(),
        }
    }

    /// What a replica does next where nothing goes wrong.
    pub fn next_of(&self, state: &State, replica: u8) -> Option<Action> {
        Some(match state.replicas[usize::from(replica)].at {
            At::Idle if self.scope.lease && state.leader != replica => return None,
            At::Idle => Action::Begin(replica),
            At::Storing(_) => Action::Store(replica, Write::Fine),
            At::Packing(..) => Action::Pack(replica, Write::Fine),
            At::Working(Working { stand, fenced, .. }) => match stand.order {
                Order::Look(systems, _) => Action::Look(replica, systems, Look::Fine),
                Order::Ask => Action::Ask(replica, Question::Fine),
                Order::Probe => Action::Probe(replica, Question::Fine),
                Order::Persist => Action::Persist(replica, Write::Fine),
                Order::Send(_) if self.scope.lease && self.scope.replicas > 1 && !fenced => Action::Fence(replica),
                Order::Send(_) => Action::Send(replica, Sending::Fine),
                Order::End => return None,
            },
        })
    }

    fn of_replica(&self, state: &State, replica: u8, actions: &mut Vec<Action>) {
        let left = state.left;
        if left.crashes > 0 {
            actions.push(Action::Crash(replica));
        }
        actions.push(Action::Settle(replica));
        let Some(fine) = self.next_of(state, replica) else { return };
        match fine {
            Action::Look(_, systems, _) => self.looks(state, replica, systems, actions),
            _ => actions.push(fine),
        }
        if left.faults > 0 {
            match fine {
                Action::Ask(..) => actions.push(Action::Ask(replica, Question::Away)),
                Action::Probe(..) => actions.push(Action::Probe(replica, Question::Away)),
                Action::Persist(..) => actions.extend(LOST.map(|lost| Action::Persist(replica, lost))),
                Action::Store(..) => actions.extend(LOST.map(|lost| Action::Store(replica, lost))),
                Action::Pack(..) => actions.push(Action::Pack(replica, Write::RequestLost)),
                _ => {}
            }
        }
        if let Action::Send(..) = fine
            && let Some(sent) = state.wanted(replica)
        {
            let send = |sending| Action::Send(replica, sending);
            if left.faults > 0 {
                actions.extend([Sending::NotSent, Sending::RequestLost, Sending::ReplyLost].map(send));
                if state.flight.is_none() {
                    actions.push(send(Sending::Late));
                }
            }
            if left.refusals > 0 {
                actions.push(send(Sending::Refused));
                if sent.step == Step::NotifyCoordinator {
                    actions.push(send(Sending::Conflict));
                }
            }
            if left.lies > 0 {
                actions.push(send(Sending::LieShown));
                if sent.step != Step::NotifyCoordinator {
                    actions.push(send(Sending::LieUnchanged));
                }
            }
        }
    }

    /// The looks at these systems: in one moment, or one by one in any order.
    fn looks(&self, state: &State, replica: u8, systems: u8, actions: &mut Vec<Action>) {
        let each = System::AUTHORITIES.into_iter().filter(|system| systems & flag(*system) != 0);
        if !self.scope.one_by_one {
            actions.push(Action::Look(replica, systems, Look::Fine));
        }
        for system in each {
            let set = if self.scope.one_by_one { flag(system) } else { systems };
            if self.scope.one_by_one {
                actions.push(Action::Look(replica, set, Look::Fine));
            }
            if state.left.faults > 0 {
                actions.push(Action::Look(replica, set, Look::Away(system)));
            }
            let is_writable = !matches!(system, System::Governance | System::Archive);
            if state.left.stale > 0
                && is_writable
                && state.before.only(flag(system)) != state.records.only(flag(system))
            {
                actions.push(Action::Look(replica, set, Look::Stale(system)));
            }
        }
        if state.left.faults > 0
            && let Some(Order::Look(_, Some(step))) = state.working(replica).map(|working| working.stand.order)
        {
            actions.push(Action::Look(replica, systems, Look::HeldBack(step)));
        }
    }

    fn of_people(&self, state: &State, actions: &mut Vec<Action>) {
        let left = state.left;
        if left.changes > 0 {
            actions.extend(self.scope.changes.iter().copied().map(Action::Change));
        }
        if left.answers > 0
            && let Some(packet) = state.packet.filter(|packet| packet.answer.is_none())
        {
            let uncertain = packet.cause == Reason::NotificationUncertain;
            let resumptions: &[Option<Handoff>] =
                if uncertain { &[Some(Handoff::Delivered), Some(Handoff::NotDelivered)] } else { &[None] };
            actions.extend(resumptions.iter().map(|handoff| Action::Answer(Answer::Resume(*handoff))));
            actions.push(Action::Answer(Answer::Abandon));
        }
        if left.recreations > 0 {
            actions.push(Action::Recreate);
        }
        if left.touches > 0 && self.replicas().any(|replica| state.is_busy(replica)) {
            actions.push(Action::Touch);
        }
        // The term was seen to outlive the whole of the write that is about to go out.
        let is_fenced = self.replicas().any(|replica| state.working(replica).is_some_and(|working| working.fenced));
        if left.takeovers > 0 && !is_fenced {
            actions.push(Action::Takeover);
        }
        let is_quiet = state.flight.is_none() && self.replicas().all(|replica| !state.is_busy(replica));
        if left.windows > 0 && is_quiet {
            actions.push(Action::Window);
        }
    }

    /// What an action costs.
    fn pay(&self, left: &mut Budget, action: Action) -> Option<()> {
        let one = |count: &mut u8| -> Option<()> {
            *count = count.checked_sub(1)?;
            Some(())
        };
        match action {
            Action::Look(_, _, Look::Away(_) | Look::HeldBack(_))
            | Action::Ask(_, Question::Away)
            | Action::Probe(_, Question::Away)
            | Action::Persist(_, Write::RequestLost | Write::ReplyLost)
            | Action::Store(_, Write::RequestLost | Write::ReplyLost)
            | Action::Pack(_, Write::RequestLost | Write::ReplyLost)
            | Action::Send(_, Sending::NotSent | Sending::RequestLost | Sending::ReplyLost | Sending::Late) => {
                one(&mut left.faults)
            }
            Action::Look(_, _, Look::Stale(_)) => one(&mut left.stale),
            Action::Send(_, Sending::Refused | Sending::Conflict) => one(&mut left.refusals),
            Action::Send(_, Sending::LieShown | Sending::LieUnchanged) => one(&mut left.lies),
            Action::Crash(_) => one(&mut left.crashes),
            Action::Change(_) => one(&mut left.changes),
            Action::Answer(_) => one(&mut left.answers),
            Action::Window => one(&mut left.windows),
            Action::Recreate => one(&mut left.recreations),
            Action::Touch => one(&mut left.touches),
            Action::Takeover => one(&mut left.takeovers),
            Action::Begin(_)
            | Action::Look(_, _, Look::Fine)
            | Action::Ask(_, Question::Fine)
            | Action::Probe(_, Question::Fine)
            | Action::Persist(_, Write::Fine)
            | Action::Store(_, Write::Fine)
            | Action::Pack(_, Write::Fine)
            | Action::Fence(_)
            | Action::Send(_, Sending::Fine)
            | Action::Land
            | Action::Vanish
            | Action::Settle(_) => Some(()),
        }
    }
}

impl Model for Closing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.flight.is_some() {
            actions.extend([Action::Land, Action::Vanish]);
        }
        for replica in self.replicas() {
            self.of_replica(state, replica, actions);
        }
        self.of_people(state, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = *state;
        self.pay(&mut next.left, action)?;
        self.act(&mut next, action)?;
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Closing>> {
        properties::all()
    }
}
