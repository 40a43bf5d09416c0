//! Asking: the governance system's list of accepted reviews, page by page, from where the last look began.
//!
//! A look begins a little before the last one did, since lists and clocks may be late; what it meets again is met by name.
//! How far it has come is stored page by page, so that the next process goes on there. A review whose record makes no closure
//! is asked for again by its id for an hour, whatever the list shows by then.

use super::admit::{self, Authority, For};
use super::book::Came;
use super::{Entry, Feeds, explain};
use crate::api::AcceptanceFeed;
use crate::api::acceptance_feed::{Poll, Position};
use crate::api::parse;
use crate::closure::reason::Reason;
use crate::feeds::{Answer, Outcome, Source};
use crate::roles::{Listed, ListedReview};
use crate::spans::Delivery;
use jiff::Timestamp;
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument as _;

/// Most pages of one look: after them it goes on at the next one, so that one feed does not keep the connection to itself.
const PAGES_MAX: usize = 100;

/// Most reviews of one look whose records could not be read: after them it is an outage, and the look is broken off. One
/// record that can never be read keeps no other from being found.
const FAILURES_MAX: u32 = 10;
/// How far a feed goes on before it is written down that it has.
const ADVANCE_MIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// How a look ended.
enum Looked {
    /// It came to the end.
    Through,
    /// It goes on later from where it is.
    Partly,
}

impl Feeds {
    /// Looks where the last look is an interval ago, and no other one is under way.
    pub(super) async fn poll_when_due(&self, feed: &AcceptanceFeed, entry: &Arc<Entry>) {
        let Some(poll) = &feed.spec.poll else { return };
        let Ok(mut last) = entry.polling.clone().try_lock_owned() else { return };
        // What the schema of an older definition let in is looked at once a minute.
        let interval = parse::duration("poll.interval", &poll.interval).unwrap_or(Duration::from_secs(60));
        if last.is_some_and(|last| last.elapsed() < interval) {
            return;
        }
        *last = Some(Instant::now());
        if matches!(self.look(feed, entry, poll).await, Looked::Through) {
            *entry.trouble() = None;
        }
    }

    async fn look(&self, feed: &AcceptanceFeed, entry: &Arc<Entry>, poll: &Poll) -> Looked {
        let namespace = feed.namespace().unwrap_or_default();
        let trouble = |trouble| {
            *entry.trouble() = Some(trouble);
            Looked::Partly
        };
        let authority = match Authority::of(&self.context, &namespace, &feed.spec.playbook_ref).await {
            Ok(authority) => authority,
            Err(why) => return trouble(why),
        };
        let Some(governance) = authority.connected.governance.clone() else { return Looked::Partly };
        let states = &authority.playbook.rules.accepted_states;
        let mut position = start(feed, entry, poll, self.context.now());
        // First those whose records may have been put right: by now no list may show them. They are remembered by themselves, so
        // that one that cannot be read now does not keep the look where it is.
        let mut failures = 0;
        let due = entry.listed().due(Instant::now());
        for review in due {
            failures += u32::from(self.follow_up(feed, entry, review).await.answer() == Answer::Later);
            if failures > FAILURES_MAX {
                return Looked::Partly;
            }
        }
        let mut failures = 0;
        for _ in 0..PAGES_MAX {
            // A state that the playbook accepts no more: the look begins again.
            let known = position.state.as_ref().filter(|state| states.contains(state)).cloned();
            let Some(state) = known.or_else(|| states.first().cloned()) else { return Looked::Partly };
            if position.state.as_ref() != Some(&state) {
                position = Position { state: Some(state.clone()), cursor: None, ..position };
            }
            let page = match governance.accepted(&state, position.accepted_after, position.cursor.as_deref()).await {
                Listed::Page(page) => page,
                Listed::NotOffered => {
                    let why =
                        "The governance system gives no list of accepted reviews: use a webhook, or another system.";
                    return trouble((Reason::FeedHindered, why.to_owned()));
                }
                Listed::Unreachable(why) => {
                    authority.heed(&self.context, &namespace, why);
                    let reason = Reason::GovernanceUnavailable;
                    return trouble((reason, reason.sentence().to_owned()));
                }
            };
            for review in page.reviews {
                if entry.book().knows(&print(&review)) || entry.listed().holds(&review) {
                    continue;
                }
                failures += u32::from(self.follow_up(feed, entry, review).await.answer() == Answer::Later);
                if failures > FAILURES_MAX {
                    return Looked::Partly;
                }
            }
            let next_state = states.iter().skip_while(|known| **known != state).nth(1).cloned();
            position = match (page.next, next_state) {
                (Some(cursor), _) => Position { cursor: Some(cursor), ..position },
                (None, Some(state)) => Position { state: Some(state), cursor: None, ..position },
                // The next look begins where this one did.
                (None, None) if failures > 0 => {
                    entry.book().has_come_to(Position { began: None, state: None, cursor: None, ..position });
                    return Looked::Partly;
                }
                (None, None) => {
                    entry.book().has_come_to(end(position, poll));
                    return Looked::Through;
                }
            };
            // What a later page has must not hide what an earlier one lacked.
            if failures == 0 {
                entry.book().has_come_to(position.clone());
            }
        }
        Looked::Partly
    }

    /// Reads one review of a list and makes its closure.
    async fn follow_up(&self, feed: &AcceptanceFeed, entry: &Entry, review: ListedReview) -> Outcome {
        let (namespace, name) = (feed.namespace().unwrap_or_default(), feed.name_any());
        let told = Delivery::begin(Source::Poll.label());
        told.is_for(&namespace, &name);
        let (playbook, template) = (&feed.spec.playbook_ref, &feed.spec.template);
        let of = For { namespace: &namespace, feed: &name, playbook, template, made_by: told.context(None) };
        let following = async {
            let admitted = admit::admit(&self.context, &of, &review.id).await;
            let mut turn = None;
            if admitted.outcome.may_come_right() {
                turn = Some(entry.listed().put_off(review.clone(), Instant::now()));
            } else if admitted.outcome.answer() != Answer::Later {
                entry.listed().settle(&review);
            }
            explain(feed, &review.id, &admitted, turn);
            if admitted.trouble.is_some() {
                *entry.trouble() = admitted.trouble;
            }
            let print = print(&review);
            let came = Came { event: None, review: Some(review.id), closure: admitted.closure, why: admitted.why };
            self.note(Source::Poll, feed, entry, admitted.outcome, came, Some(&print)).await
        };
        let outcome = following.instrument(told.span()).await;
        told.ended(outcome.label());
        outcome
    }
}

/// One review version is one event, whoever lists it how often.
fn print(review: &ListedReview) -> [u8; 32] {
    Sha256::digest(format!("{}@{}", review.id, review.version)).into()
}

/// Where a look begins: where the last one was broken off, or where it ended.
fn start(feed: &AcceptanceFeed, entry: &Entry, poll: &Poll, now: Timestamp) -> Position {
    let known = entry.book().position().cloned();
    let made = || feed.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let mut position = known.unwrap_or_else(|| Position {
        accepted_after: poll.since.unwrap_or_else(made),
        began: None,
        state: None,
        cursor: None,
    });
    if position.began.is_none() {
        position.began = Some(now);
    }
    position
}

/// What is left to do after a look: what was accepted since it began, and a little before.
fn end(position: Position, poll: &Poll) -> Position {
    let overlap = parse::duration("poll.overlap", &poll.overlap).unwrap_or_default();
    let began = position.began.unwrap_or(position.accepted_after);
    let next = began.checked_sub(overlap).unwrap_or(position.accepted_after);
    // What nothing depends on is not written at every look.
    let far = next.duration_since(position.accepted_after) >= ADVANCE_MIN;
    let accepted_after = if far { next } else { position.accepted_after };
    Position { accepted_after, began: None, state: None, cursor: None }
}
