//! From the small world to the production types: the spec, the rules, and the records as an adapter would read them.

use super::world::{Attached, Bundle, Records, Source, TwoState, Uid};
use jiff::Timestamp;
use releaseclosure_core::accepted::{
    Accepted, AcceptedEvent, Evidence, Milestone, OpenItems, Recheck, Records as Named, Release, Review, Rules,
};
use releaseclosure_core::decide::{Brief, Delivery, IntakeTerms, Memory};
use releaseclosure_core::ids::{Step, System};
use releaseclosure_core::ledger::{ObjectVersion, PlaybookVersion};
use releaseclosure_core::snapshot::{
    Artifact, BundleRecord, ChecklistRecord, EvidenceLink, Marker, Marking, MilestoneRef, Observation, Progress,
    QueueRecord, ReleaseRef, ReviewRecord, Revision, Sighting, TrackerRecord, Trouble,
};
use std::time::Duration;

pub const KEY: &str = "r@v@1";
pub const BUNDLE: &str = "b";
pub const URL: &str = "https://a.example/b";
const WINDOW: Duration = Duration::from_secs(3600);
const SETTLING: Duration = Duration::from_secs(39);

/// What an intake offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    pub delivery: Delivery,
    /// It forgets keys after its window.
    pub forgets: bool,
}

/// What a pass is told besides the stored ledger. Equal ones make equal briefs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Told {
    pub uid: Uid,
    /// The process has known the intent for the settling time.
    pub settled: bool,
    pub ineffective: Option<(Step, u8)>,
    pub intake_away: bool,
    /// The window of the intake's keys has passed since the beginning.
    pub late: bool,
}

fn text(word: &str) -> String {
    word.to_owned()
}

pub fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

pub fn uid(uid: Uid) -> String {
    format!("u{uid}")
}

/// The time. It has two values, since the core only ever asks whether the window of an intent has passed; everything
/// else that it does with the time is to write it down.
pub fn now(late: bool) -> Timestamp {
    Timestamp::from_second(if late { 1_800_007_200 } else { 1_800_000_000 }).expect("a time")
}

fn object(name: &str) -> ObjectVersion {
    ObjectVersion { name: text(name), uid: text(name), generation: 1 }
}

pub fn accepted() -> Accepted {
    let release = Release { id: text("r"), service: text("s"), version: text("1") };
    let accepted_event = AcceptedEvent { id: text("e"), source: None, time: None };
    let review = Review { id: text("v"), version: text("1"), accepted_event };
    let milestone = Milestone { id: text("m"), title: text("t") };
    let evidence = Evidence { bundle: text(BUNDLE), digest: digest('a') };
    Accepted::new(release, review, milestone, evidence, Named::default(), None).expect("a valid spec")
}

pub fn rules(recheck: Recheck) -> Rules {
    Rules {
        accepted_states: vec![text("Accepted")],
        required_artifacts: vec![text("sign-off")],
        open_items: OpenItems::Halt,
        approved_state: text("Approved"),
        approvable_states: vec![text("InReview")],
        recheck,
        missing_grace: Duration::ZERO,
    }
}

pub fn brief(terms: Terms, recheck: Recheck, told: Told) -> Brief {
    let Terms { delivery, forgets } = terms;
    Brief {
        accepted: accepted(),
        rules: rules(recheck),
        uid: uid(told.uid),
        plan: false,
        playbook: PlaybookVersion { name: text("p"), uid: text("p"), generation: 1, digest: digest('c') },
        connections: System::ALL.map(|system| object(system.as_str())),
        intake: IntakeTerms {
            delivery,
            // As the driver has it.
            can_look_up: delivery != Delivery::None,
            window: forgets.then_some(WINDOW),
            settling: SETTLING,
        },
        memory: Memory {
            intent_seen_for: if told.settled { SETTLING } else { Duration::ZERO },
            ineffective: told.ineffective,
            intake_away: told.intake_away,
            settling: false,
        },
    }
}

pub fn revision(number: u8) -> Revision {
    Revision(number.to_string())
}

fn marking(by: Option<Uid>, markers: bool) -> Marking {
    match by {
        _ if !markers => Marking::NotCarried,
        None => Marking::Unmarked,
        Some(number) => Marking::By(Marker { key: text(KEY), uid: uid(number) }),
    }
}

fn release() -> ReleaseRef {
    ReleaseRef { id: text("r"), service: Some(text("s")), version: Some(text("1")) }
}

fn progress(cell: TwoState, to_do: &str, done: &str) -> Progress {
    if cell.done { Progress::Done(text(done)) } else { Progress::ToDo(text(to_do)) }
}

pub fn foreign_link() -> EvidenceLink {
    let url = text("https://a.example/other");
    EvidenceLink { bundle: text("other"), digest: digest('d'), url, marking: Marking::Unmarked, as_read: text("{}") }
}

/// What a look at one system shows. `markers`: the systems keep them.
pub fn sighting(records: Records, system: System, markers: bool) -> Option<Sighting> {
    Some(match system {
        System::Governance => {
            let review = ReviewRecord {
                id: text("v"),
                version: text(if records.source == Source::NewVersion { "2" } else { "1" }),
                state: text(if records.source == Source::Reopened { "Reopened" } else { "Accepted" }),
                release: release(),
                milestone: None,
                evidence: None,
                accepted_event: None,
            };
            Sighting::Governance(Observation::Found(review, revision(0)))
        }
        System::Archive => Sighting::Archive(match records.bundle {
            Bundle::Gone => Observation::Missing,
            found => {
                let bundle = BundleRecord {
                    bundle: text(BUNDLE),
                    digest: digest(if found == Bundle::Here { 'a' } else { 'b' }),
                    release_id: text("r"),
                    review_version: text("1"),
                    artifacts: vec![Artifact { kind: text("sign-off"), digest: Some(text("x")) }],
                    url: text(URL),
                    plaintext_allowed: false,
                };
                Observation::Found(bundle, revision(0))
            }
        }),
        System::Checklist => {
            let checklist = ChecklistRecord {
                id: text("c"),
                release_id: text("r"),
                review_version: text("1"),
                state: progress(records.checklist, "Open", "Closed"),
                open_items: Vec::new(),
                marking: marking(records.checklist.by, markers),
            };
            Sighting::Checklist(Observation::Found(checklist, revision(records.checklist.revision)))
        }
        System::Tracker => {
            let cell = records.tracker;
            let link = |by| EvidenceLink {
                bundle: text(BUNDLE),
                digest: digest('a'),
                url: text(URL),
                marking: marking(by, markers),
                as_read: text("{}"),
            };
            let ours = match cell.link {
                Attached::No => None,
                Attached::ByPeople => Some(link(None)),
                Attached::By(uid) => Some(link(Some(uid))),
            };
            let others = cell.foreign_link.then(foreign_link);
            let tracker = TrackerRecord {
                id: text("t"),
                release: release(),
                state: text(if cell.approved { "Approved" } else { "InReview" }),
                milestone: MilestoneRef { id: text("m"), title: text(if cell.renamed { "renamed" } else { "t" }) },
                evidence: others.into_iter().chain(ours).collect(),
                marking: marking(cell.by, markers),
            };
            Sighting::Tracker(Observation::Found(tracker, revision(cell.revision)))
        }
        System::Queue => {
            let entry = QueueRecord {
                id: text("q"),
                release_id: text("r"),
                review_version: text("1"),
                state: progress(records.queue, "Pending", "Cleared"),
                marking: marking(records.queue.by, markers),
            };
            Sighting::Queue(Observation::Found(entry, revision(records.queue.revision)))
        }
        System::Intake => return None,
    })
}

/// A look that was not answered.
pub fn no_answer(system: System) -> Option<Sighting> {
    let why = Trouble::Unavailable.into();
    Some(match system {
        System::Governance => Sighting::Governance(Observation::Unreachable(why)),
        System::Archive => Sighting::Archive(Observation::Unreachable(why)),
        System::Checklist => Sighting::Checklist(Observation::Unreachable(why)),
        System::Tracker => Sighting::Tracker(Observation::Unreachable(why)),
        System::Queue => Sighting::Queue(Observation::Unreachable(why)),
        System::Intake => return None,
    })
}
