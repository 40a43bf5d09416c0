//! The driver of the passes and the world around it: what `controller/pass.rs` and its neighbours do, one request at a
//! time, with everything that can happen between two requests.
//!
//! What is left out: the watch cache's word on the object before a write (it may be old, so nothing rests on it), duplicate
//! objects, suspension, plans. What is finer than in production: nothing. What is coarser: acting on a packet is one
//! step, since its parts are guarded by one resourceVersion.

use super::configurations::Scope;
use super::engine::{Answer, Engine, Event, Order, Reply, Stand, Standing, Stored};
use super::properties::Rule;
use super::records::Told;
use super::state::{
    Action, At, History, Look, OBJECTS, Object, Packet, Question, Remembered, Replica, Sending, State, Storing,
    Working, Write,
};
use super::tables::Memo;
use super::world::{Change, Records, bit, flag};
use releaseclosure_core::decide::Delivery;
use releaseclosure_core::ids::{Step, System};
use releaseclosure_core::ledger::{Handoff, Outcome};
use releaseclosure_core::reason::Reason;

/// A closure in its world: the model.
pub struct Closing {
    pub scope: Scope,
    pub engine: Engine,
    /// The ends that were worked out before, by what of a state decides them.
    pub futures: Memo<u64, Option<super::future::Future>>,
}

impl Closing {
    pub fn new(scope: Scope) -> Closing {
        let engine = Engine::new(scope.terms, scope.recheck, scope.markers);
        Closing { scope, engine, futures: Memo::default() }
    }

    /// The replicas of this scope.
    pub fn replicas(&self) -> std::ops::Range<u8> {
        0..self.scope.replicas
    }

    /// What somebody changed, or a write of ours.
    pub fn change_records(&self, state: &mut State, records: Records) {
        let old = state.records;
        for system in System::AUTHORITIES {
            if records.only(flag(system)) != old.only(flag(system)) {
                state.before = state.before.with(old, system);
            }
        }
        state.records = records;
        state.history.ever_done |= records.done();
    }

    /// Leaves out what can make no difference any more, so that states that behave alike are one.
    fn tidy(&self, state: &mut State) {
        if state.left.stale == 0 {
            state.before = state.records;
        }
    }

    fn begin(&self, state: &mut State, replica: u8) -> Option<()> {
        let object = state.object;
        let index = usize::from(replica);
        if object.finished {
            return None;
        }
        if let Some(halt) = object.stored.1.halt {
            return self.attend(state, replica, halt);
        }
        if let Some(packet) = state.packet
            && self.engine.holds(object.stored.0, packet.halt)
        {
            return self.be_held(state, replica, packet);
        }
        let intended = object.stored.1.outcomes[Step::NotifyCoordinator.index()] == Outcome::Intended;
        let remembered = state.replicas[index].remembered;
        let intent = (intended || remembered.settling).then(|| remembered.intent.unwrap_or_default());
        let told = Told {
            uid: object.uid,
            settled: intent == Some(true),
            ineffective: remembered.ineffective,
            intake_away: remembered.intake_away,
            late: state.late,
        };
        let stand = self.engine.begin(object.stored.0, told);
        let base = (object.stored.0, object.standing);
        let working = Working { stand, uid: object.uid, base, is_current: true, intent, fenced: false };
        self.go_on(state, replica, working, stand);
        Some(())
    }

    /// A halted closure: its packet is there, and its answer is acted on.
    fn attend(&self, state: &mut State, replica: u8, (halt, cause): (u32, Reason)) -> Option<()> {
        state.replicas[usize::from(replica)].remembered = Remembered::default();
        let packet = state.packet.filter(|packet| packet.halt == halt);
        let Some(packet) = packet else {
            state.packet = Some(Packet { halt, cause, answer: None });
            return Some(());
        };
        let answer = packet.answer?;
        let (stored, acted) = self.engine.resolve(state.object.stored.0, answer);
        if !acted {
            return None;
        }
        let in_doubt = stored.1.outcomes[Step::NotifyCoordinator.index()] == Outcome::Intended;
        state.history.breaks(Rule::L1Word, in_doubt && matches!(answer, Answer::Resume(Some(_))));
        let standing = if answer == Answer::Abandon { Standing::Abandoned } else { Standing::Working };
        self.store_object(state, replica, stored, standing);
        if answer != Answer::Abandon {
            state.packet = None;
        }
        self.engine.coverage.happened(match answer {
            Answer::Resume(None) => "resumed",
            Answer::Resume(Some(Handoff::Delivered)) => "resumed, delivered",
            Answer::Resume(Some(Handoff::NotDelivered)) => "resumed, not delivered",
            Answer::Abandon => "abandoned",
        });
        Some(())
    }

    /// A packet of the closure's key holds this object, too.
    fn be_held(&self, state: &mut State, replica: u8, packet: Packet) -> Option<()> {
        state.replicas[usize::from(replica)].remembered = Remembered::default();
        match packet.answer {
            Some(Answer::Resume(_)) => state.packet = None,
            Some(Answer::Abandon) => {
                let stored = state.object.stored;
                self.store_object(state, replica, stored, Standing::Abandoned);
            }
            None => {
                let stored = self.engine.take_over(state.object.stored.0, packet.halt);
                self.engine.coverage.happened("a halt taken over by a later object");
                self.store_object(state, replica, stored, Standing::Halted);
            }
        }
        Some(())
    }

    /// The pass of a replica has come this far.
    fn go_on(&self, state: &mut State, replica: u8, working: Working, stand: Stand) {
        state.history.broken |= stand.broken;
        let replica = &mut state.replicas[usize::from(replica)];
        if stand.order != Order::End {
            replica.at = At::Working(Working { stand, ..working });
            return;
        }
        let ended = self.engine.end(stand.node);
        state.history.broken |= ended.broken;
        let waits = matches!(ended.standing, Standing::Waiting(_));
        replica.remembered = if waits {
            let since = working.intent.filter(|_| !ended.announced);
            let intent = if ended.settling { Some(since.unwrap_or_default()) } else { since };
            let (ineffective, intake_away, settling) = (ended.ineffective, ended.intake_away, ended.settling);
            Remembered { intent, settling, ineffective, intake_away }
        } else {
            Remembered::default()
        };
        let before = working.base.0;
        let draft = ended.stored;
        let halt = draft.1.halt;
        if waits && draft.1.outcomes[4] == Outcome::Pending && self.engine.intends(before) {
            self.engine.coverage.happened("the intent taken back");
        }
        if (draft.0, ended.standing) == working.base {
            replica.at = At::Idle;
            return;
        }
        let Working { uid, base, is_current, .. } = working;
        replica.at = At::Storing(Storing { draft, standing: ended.standing, halt, uid, base, is_current });
    }

    /// Hands something to the pass of a replica.
    pub fn hand(&self, state: &mut State, replica: u8, working: Working, event: Event) {
        let stand = self.engine.step(working.stand.node, event);
        self.go_on(state, replica, Working { fenced: false, ..working }, stand);
    }

    fn look(&self, state: &mut State, replica: u8, systems: u8, look: Look) -> Option<()> {
        let working = state.working(replica)?;
        let (mut away, mut records) = (0, state.records);
        match look {
            Look::Fine => {}
            Look::Away(system) => away = flag(system),
            Look::Stale(system) => {
                let seen = records.with(state.before, system);
                let taken_down = state.history.answered | state.object.stored.1.befores;
                state.history.went_back |= records.done() & !seen.done() & !taken_down != 0;
                state.history.hidden += u8::from(records.tracker.renamed && !seen.tracker.renamed);
                records = seen;
                self.engine.coverage.happened("a stale look");
            }
            Look::HeldBack(step) => {
                self.hand(state, replica, working, Event::HeldBack(step));
                return Some(());
            }
        }
        let records = records.only(systems & !away);
        self.hand(state, replica, working, Event::Saw { systems, away, records });
        Some(())
    }

    fn persist(&self, state: &mut State, replica: u8, write: Write) -> Option<()> {
        let mut working = state.working(replica)?;
        let draft = self.engine.draft(working.stand.node);
        let same = working.is_current && state.object.uid == working.uid;
        state.replicas[usize::from(replica)].at = At::Idle;
        if write == Write::RequestLost {
            // What the pass knew goes with it.
            state.history.answered = 0;
            return Some(());
        }
        if !same {
            self.engine.coverage.happened("a status write lost its race");
            return Some(());
        }
        self.store_object(state, replica, draft, Standing::Working);
        if write == Write::Fine {
            working.base = (draft.0, Standing::Working);
            self.hand(state, replica, working, Event::Persisted);
        }
        Some(())
    }

    /// Stores a status. Everybody else's knowledge of the object is old from then on.
    fn store_object(&self, state: &mut State, replica: u8, stored: Stored, standing: Standing) {
        let old = state.object;
        let history = &mut state.history;
        for step in Step::ALL {
            let (before, after) = (old.stored.1.outcomes[step.index()], stored.1.outcomes[step.index()]);
            history.breaks(Rule::S12, before.is_settled() && before != after);
            let ours = history.landed[usize::from(old.uid)] & bit(step) != 0 || history.lied & bit(step) != 0;
            history.breaks(Rule::S5, after == Outcome::Changed && !ours);
        }
        let finished = matches!(standing, Standing::Closed | Standing::Abandoned);
        if standing == Standing::Closed {
            let done = history.ever_done | history.lied;
            let told = state.announced > 0 || history.wrongly_delivered || history.lied & bit(Step::ALL[4]) != 0;
            history.breaks(Rule::S7, done & 0b1111 != 0b1111 || !told);
        }
        if let (Some((_, cause)), Standing::Halted, None) = (stored.1.halt, standing, old.stored.1.halt) {
            history.breaks(Rule::L2, !self.may_halt(history, cause));
            history.late_halt = self.scope.lease && state.leader != replica;
        }
        history.late_halt &= stored.1.halt.is_some();
        state.object = Object { uid: old.uid, stored, standing, finished };
        self.engine.coverage.stored(standing);
        self.outdate(state, Some(replica));
    }

    /// Whether a halt for this cause is no false one. That of an announcement of which nothing is known is none where the
    /// intake can be asked nothing and something was lost on the way.
    pub fn may_halt(&self, history: &History, cause: Reason) -> bool {
        let in_doubt = history.in_doubt || self.scope.replicas > 1;
        let neither = self.scope.terms.delivery == Delivery::None;
        let uncertain = cause == Reason::NotificationUncertain && neither && in_doubt;
        history.disagreed || history.refused || history.lied != 0 || history.went_back || uncertain
    }

    fn outdate(&self, state: &mut State, except: Option<u8>) {
        for (number, replica) in (0..).zip(&mut state.replicas) {
            let current = Some(number) == except;
            match &mut replica.at {
                At::Working(working) => working.is_current = current,
                At::Storing(storing) => storing.is_current = current,
                At::Idle | At::Packing(..) => {}
            }
        }
    }

    /// Stores what a pass came to, as `record::store_fact` does: on the object as it is now, where it is still that one.
    fn store(&self, state: &mut State, replica: u8, write: Write) -> Option<()> {
        let index = usize::from(replica);
        let At::Storing(mut storing) = state.replicas[index].at else { return None };
        state.replicas[index].at = At::Idle;
        if write == Write::RequestLost || storing.uid != state.object.uid || state.object.finished {
            state.history.answered = 0;
            return Some(());
        }
        let done = storing.halt.map_or(At::Idle, |(halt, cause)| At::Packing(halt, cause));
        if storing.is_current {
            let (stored, standing) = (storing.draft, storing.standing);
            self.store_object(state, replica, stored, standing);
            if write == Write::Fine {
                state.replicas[index].at = done;
            }
            return Some(());
        }
        if write == Write::ReplyLost {
            return None;
        }
        self.engine.coverage.happened("a status write lost its race");
        let object = state.object;
        let theirs = (object.stored.0, object.standing);
        if theirs != storing.base {
            let agrees = self.engine.agrees(object.stored.0, storing.draft.0);
            if storing.standing != Standing::Closed || object.stored.1.halt.is_some() || !agrees {
                storing.draft = self.engine.lay_over(object.stored.0, storing.draft.0);
                storing.standing = object.standing;
                self.engine.coverage.happened("settled steps laid over another's status");
            }
            storing.base = theirs;
        }
        storing.is_current = true;
        let is_new = (storing.draft.0, storing.standing) != storing.base;
        state.replicas[index].at = if is_new { At::Storing(storing) } else { done };
        Some(())
    }

    fn pack(&self, state: &mut State, replica: u8, write: Write) -> Option<()> {
        let index = usize::from(replica);
        let At::Packing(halt, cause) = state.replicas[index].at else { return None };
        state.replicas[index].at = At::Idle;
        if write != Write::RequestLost && state.packet.is_none_or(|packet| packet.halt != halt) {
            state.packet = Some(Packet { halt, cause, answer: None });
        }
        Some(())
    }

    fn environment(&self, state: &mut State, change: Change) -> Option<()> {
        let records = state.records.changed(change)?;
        let turned = [System::Governance, System::Archive]
            .map(|system| records.only(flag(system)) != state.records.only(flag(system)));
        let renamed = records.tracker.renamed != state.records.tracker.renamed;
        for (late, turned) in state.history.late.iter_mut().zip([turned[0], turned[1], renamed]) {
            *late = if turned { 0 } else { *late };
        }
        state.history.disagreed |= change.disagrees();
        // Whoever did not clear it may be an earlier object that announced, without a mark where people did every step.
        state.history.in_doubt |= change == Change::Do(Step::ClearQueueEntry);
        self.change_records(state, records);
        Some(())
    }

    fn answer(&self, state: &mut State, answer: Answer) -> Option<()> {
        let packet = state.packet.as_mut().filter(|packet| packet.answer.is_none())?;
        packet.answer = Some(answer);
        let busy = self.replicas().any(|replica| state.is_busy(replica));
        match answer {
            Answer::Resume(Some(Handoff::Delivered)) => state.history.wrongly_delivered |= state.announced == 0,
            Answer::Resume(Some(Handoff::NotDelivered)) => {
                let wrong = state.announced > 0 || state.is_announcement_in_flight() || busy;
                state.history.wrongly_not_delivered += u8::from(wrong);
            }
            Answer::Resume(None) | Answer::Abandon => {}
        }
        Some(())
    }

    fn recreate(&self, state: &mut State) -> Option<()> {
        if usize::from(state.object.uid) + 1 >= OBJECTS {
            return None;
        }
        let uid = state.object.uid + 1;
        state.object = Object { uid, stored: self.engine.empty(), standing: Standing::New, finished: false };
        self.outdate(state, None);
        Some(())
    }

    /// Whether enough time may have passed since this process saw the intent that nothing of another one is under way.
    pub fn may_settle(&self, state: &State, replica: u8) -> bool {
        let own = state.replicas[usize::from(replica)];
        let others = self.replicas().any(|other| other != replica && state.is_busy(other));
        let terms = self.scope.terms;
        let matters = terms.delivery == Delivery::Lookup || terms.forgets;
        matters
            && own.at == At::Idle
            && own.remembered.intent == Some(false)
            && !others
            && !state.is_announcement_in_flight()
    }

    /// What an action makes of a state, apart from what it costs.
    pub fn act(&self, state: &mut State, action: Action) -> Option<()> {
        let is_loss = match action {
            Action::Persist(_, write) | Action::Store(_, write) => write != Write::Fine,
            Action::Send(replica, sending) => {
                let unknown = matches!(sending, Sending::RequestLost | Sending::ReplyLost | Sending::Late);
                let tells =
                    |step| step == Step::NotifyCoordinator || step == Step::ClearQueueEntry && !self.scope.markers;
                unknown && state.wanted(replica).is_some_and(|sent| tells(sent.step))
            }
            Action::Crash(_) | Action::Recreate => true,
            _ => false,
        };
        state.history.in_doubt |= is_loss && self.scope.terms.delivery == Delivery::None;
        match action {
            Action::Begin(replica) => self.begin(state, replica)?,
            Action::Look(replica, systems, look) => self.look(state, replica, systems, look)?,
            Action::Ask(replica, question) => {
                let answer = (question == Question::Fine).then_some(state.announced > 0);
                self.hand(state, replica, state.working(replica)?, Event::Asked(answer));
            }
            Action::Probe(replica, question) => {
                let there = question == Question::Fine;
                self.hand(state, replica, state.working(replica)?, Event::Probed(there));
            }
            Action::Persist(replica, write) => self.persist(state, replica, write)?,
            Action::Fence(replica) => {
                let working = state.working(replica)?;
                if state.leader == replica {
                    state.replicas[usize::from(replica)].at = At::Working(Working { fenced: true, ..working });
                } else {
                    self.engine.coverage.happened("a fence held a write back");
                    let step = state.wanted(replica)?.step;
                    self.hand(state, replica, working, Event::Wrote(step, Reply::NotApplied));
                }
            }
            Action::Send(replica, sending) => self.send(state, replica, sending)?,
            Action::Store(replica, write) => self.store(state, replica, write)?,
            Action::Pack(replica, write) => self.pack(state, replica, write)?,
            Action::Crash(replica) => {
                let replica = &mut state.replicas[usize::from(replica)];
                let idle = Replica { at: At::Idle, remembered: Remembered::default() };
                if *replica == idle {
                    return None;
                }
                *replica = idle;
                state.history.answered = 0;
            }
            Action::Land => {
                let sent = state.flight.take()?;
                let landed = self.land(state, sent).is_some();
                self.engine.coverage.happened(if landed {
                    "a late write landed"
                } else {
                    "a late write's precondition failed"
                });
            }
            Action::Vanish => drop(state.flight.take()?),
            Action::Change(change) => self.environment(state, change)?,
            Action::Answer(answer) => self.answer(state, answer)?,
            Action::Settle(replica) => {
                if !self.may_settle(state, replica) {
                    return None;
                }
                state.replicas[usize::from(replica)].remembered.intent = Some(true);
            }
            Action::Window => (state.late, state.knows_key) = (true, false),
            Action::Recreate => self.recreate(state)?,
            Action::Touch => self.outdate(state, None),
            Action::Takeover => state.leader = 1 - state.leader,
        }
        self.tidy(state);
        Some(())
    }
}
