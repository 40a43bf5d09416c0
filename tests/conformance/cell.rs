//! One cell of the table: an adapter in one part and one case, with a place of its own; and what all roles' replies have in common.

use super::front::Front;
use super::orders::{Papers, UID};
use super::subject::{Deed, Made, Part, Place, Release, Truth, settings};
use releaseclosure::closure::decide::Verified;
use releaseclosure::closure::ids::System;
use releaseclosure::closure::snapshot::{Marker, Marking, Observation, Sighting, Unreachable};
use releaseclosure::providers;
use releaseclosure::roles::{
    Abilities, AnnounceReply, Concurrency, Connected, HandoffSighting, Probe, Subject, WriteReply,
};
use std::sync::Arc;
use std::time::Duration;

/// What became of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As the roles promise it.
    Passes,
    /// The product cannot, and the connection's status says so; why.
    Cannot(String),
    /// There is no such thing in this product or in this role; why.
    NoSuchThing(String),
}

/// What a case comes to; an error is a failure.
pub type Outcome = Result<Verdict, String>;

/// A look at a record, whatever its role.
#[allow(clippy::large_enum_variant, reason = "there are few, and none is kept")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saw {
    /// It is there.
    Found(Look),
    /// The system says that there is none; of an intake: that it has no such handoff.
    Missing,
    /// There are so many.
    Ambiguous(usize),
    /// Nothing was learned.
    Unreachable(Unreachable),
}

/// A record that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its revision; empty where the role has none.
    pub revision: String,
    /// Whether the part's step is done.
    pub done: bool,
    /// Whose mark the step has.
    pub marking: Marking,
    /// The look as the core takes it; none at an intake.
    pub sighting: Option<Sighting>,
}

/// What became of a write, whatever its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// The system says yes; the record now.
    Answered(Box<Look>),
    /// The precondition failed, or the record is gone.
    Conflict,
    /// The system refuses it.
    Refused,
    /// Nothing was applied, for certain.
    NotApplied(Unreachable),
    /// Nobody knows.
    Unknown(Unreachable),
}

/// One cell.
pub struct Cell {
    /// The part.
    pub part: Part,
    /// Where it is played.
    pub place: Arc<dyn Place>,
    /// The release.
    pub release: Release,
    /// Its record.
    pub made: Made,
    /// The connection.
    pub connected: Connected,
    /// What it says of itself.
    pub abilities: Abilities,
    papers: Papers,
}

/// Long enough for any reply on a busy machine, as long as nobody holds it.
const PATIENCE: Duration = Duration::from_secs(60);

impl Cell {
    /// A place in which the release's record stands ready.
    pub async fn new(part: Part, place: Arc<dyn Place>) -> Result<Cell, String> {
        let release = Release::new("r-2026.11.3");
        let made = place.make(&release).await;
        let connected = connect(&*place, &place.token(), PATIENCE)?;
        let abilities = connected.prober.abilities(part.system).ok_or("it says nothing of this role")?;
        let papers = Papers::of(part, &release, &made, place.words());
        Ok(Cell { part, place, release, made, connected, abilities, papers })
    }

    /// The same with another token, or a shorter timeout.
    pub fn again(&mut self, token: &str, timeout: Duration) -> Result<(), String> {
        self.connected = connect(&*self.place, token, timeout)?;
        Ok(())
    }

    /// The fault proxy.
    pub fn front(&self) -> &Front {
        self.place.front()
    }

    /// Whether this part writes.
    pub fn writes(&self) -> bool {
        self.part.step.is_some()
    }

    /// How the connection says that its writes are protected.
    pub fn concurrency(&self) -> Option<Concurrency> {
        self.abilities.concurrency
    }

    /// What is true.
    pub async fn truth(&self) -> Truth {
        self.place.truth(&self.release, &self.made).await
    }

    /// Does what people do.
    pub async fn person(&self, deed: Deed) -> Result<(), &'static str> {
        self.place.person(&self.release, &self.made, deed).await
    }

    /// Somebody does it right before the next change reaches the server.
    pub fn person_at_the_moment(&self, deed: Deed) {
        let (place, release, made) = (self.place.clone(), self.release.clone(), self.made.clone());
        self.front().meanwhile(super::front::On::Write, move || {
            let (place, release, made) = (place.clone(), release.clone(), made.clone());
            async move { place.person(&release, &made, deed).await.expect("it was possible a moment ago") }
        });
    }

    /// Whether a mark is ours.
    pub fn is_ours(&self, marking: &Marking) -> bool {
        *marking == Marking::By(Marker { key: self.papers.key().to_owned(), uid: UID.to_owned() })
    }

    /// Looks the record up by its release, where the role has look-ups.
    pub async fn find(&self) -> Saw {
        self.look(None).await
    }

    /// Reads the record by its id.
    pub async fn read(&self) -> Saw {
        // A handoff is asked for by its key.
        self.look(Some(self.made.id.as_str()).filter(|id| !id.is_empty())).await
    }

    /// Reads a record by this id.
    pub async fn look(&self, record: Option<&str>) -> Saw {
        let (release, review_version) = (self.release.id.as_str(), self.release.review_version);
        // Reviews and bundles are always named.
        let named =
            record.or(matches!(self.part.system, System::Governance | System::Archive).then_some(&self.made.id));
        let subject = Subject { record: named, release, review_version };
        let Connected { governance, archive, checklist, tracker, queue, intake, .. } = &self.connected;
        match self.part.system {
            System::Governance => {
                self.saw(governance.as_ref().expect("a role").review(subject, None).await, Sighting::Governance)
            }
            System::Archive => {
                self.saw(archive.as_ref().expect("a role").bundle(subject, None).await, Sighting::Archive)
            }
            System::Checklist => {
                self.saw(checklist.as_ref().expect("a role").checklist(subject, None).await, Sighting::Checklist)
            }
            System::Tracker => {
                self.saw(tracker.as_ref().expect("a role").release(subject, None).await, Sighting::Tracker)
            }
            System::Queue => self.saw(queue.as_ref().expect("a role").entry(subject, None).await, Sighting::Queue),
            System::Intake => {
                match intake.as_ref().expect("a role").handoff(record.unwrap_or(self.papers.key()), None).await {
                    HandoffSighting::There => Saw::Found(self.announced()),
                    HandoffSighting::NotThere => Saw::Missing,
                    HandoffSighting::Unreachable(why) => Saw::Unreachable(why),
                }
            }
        }
    }

    /// What a handoff that is there looks like: it is found by our key alone.
    fn announced(&self) -> Look {
        let marking = Marking::By(Marker { key: self.papers.key().to_owned(), uid: UID.to_owned() });
        Look { revision: String::new(), done: true, marking, sighting: None }
    }

    fn saw<R>(&self, observation: Observation<R>, sighting: fn(Observation<R>) -> Sighting) -> Saw {
        match observation {
            Observation::Found(record, revision) => {
                let at = revision.0.clone();
                self.found(sighting(Observation::Found(record, revision)), at)
            }
            Observation::Missing => Saw::Missing,
            Observation::Ambiguous(count) => Saw::Ambiguous(count),
            Observation::Unreachable(why) => Saw::Unreachable(why),
        }
    }

    fn found(&self, sighting: Sighting, revision: String) -> Saw {
        let (done, marking) = self.papers.state(&sighting);
        Saw::Found(Look { revision, done, marking, sighting: Some(sighting) })
    }

    /// The record as it must be found now, with all that was accepted in agreement.
    pub async fn must_read(&self) -> Result<Look, String> {
        match self.read().await {
            Saw::Found(look) => Ok(look),
            // An intake has nothing before it is told.
            Saw::Missing if self.part.system == System::Intake => {
                Ok(Look { revision: String::new(), done: false, marking: Marking::Unmarked, sighting: None })
            }
            other => Err(format!("the record was not found: {other:?}")),
        }
    }

    /// What the checks say of a look.
    pub fn agrees(&self, look: &Look) -> Result<(), String> {
        look.sighting.as_ref().map_or(Ok(()), |sighting| self.papers.agrees(sighting))
    }

    /// The permission that a look gives.
    pub fn order(&self, look: &Look) -> Result<Verified, String> {
        self.papers.order(look.sighting.as_ref())
    }

    /// Makes a write, with a permit.
    pub async fn write(&self, order: Verified) -> Wrote {
        let permit = match self.connected.gate.permit().await {
            Ok(permit) => permit,
            Err(why) => return Wrote::NotApplied(why),
        };
        let Connected { checklist, tracker, queue, intake, .. } = &self.connected;
        match self.part.system {
            System::Checklist => {
                self.wrote(checklist.as_ref().expect("a role").close(order, permit).await, Sighting::Checklist)
            }
            System::Tracker => {
                self.wrote(tracker.as_ref().expect("a role").update(order, permit).await, Sighting::Tracker)
            }
            System::Queue => self.wrote(queue.as_ref().expect("a role").clear(order, permit).await, Sighting::Queue),
            System::Intake => match intake.as_ref().expect("a role").announce(order, permit).await {
                AnnounceReply::Accepted | AnnounceReply::AlreadyThere => Wrote::Answered(Box::new(self.announced())),
                AnnounceReply::Conflict | AnnounceReply::Refused => Wrote::Refused,
                AnnounceReply::NotSent(why) => Wrote::NotApplied(why),
                AnnounceReply::Unknown(why) => Wrote::Unknown(why),
            },
            System::Governance | System::Archive => Wrote::Refused,
        }
    }

    fn wrote<R>(&self, reply: WriteReply<R>, sighting: fn(Observation<R>) -> Sighting) -> Wrote {
        match reply {
            WriteReply::Answered(record, revision) => match self.saw(Observation::Found(record, revision), sighting) {
                Saw::Found(look) => Wrote::Answered(Box::new(look)),
                _ => Wrote::Refused,
            },
            WriteReply::Conflict | WriteReply::Gone => Wrote::Conflict,
            WriteReply::Refused => Wrote::Refused,
            WriteReply::NotApplied(why) => Wrote::NotApplied(why),
            WriteReply::Unknown(why) => Wrote::Unknown(why),
        }
    }

    /// Asks whether the system is there.
    pub async fn probe(&self) -> Probe {
        self.connected.prober.probe(self.part.system).await
    }
}

fn connect(place: &dyn Place, token: &str, timeout: Duration) -> Result<Connected, String> {
    providers::connect(&settings(place, token, timeout)).map_err(|why| why.to_string())
}
