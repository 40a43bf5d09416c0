//! What a world is made of, drawn from its seed: closures, what their systems are able to do, and what goes wrong when. A
//! plan is data, so that a failing one can be made smaller and played again.

use fastrand::Rng;
use releaseclosure::closure::accepted::Recheck;
use releaseclosure::closure::decide::Delivery;
use releaseclosure::sandbox::Role;

/// From here on nothing goes wrong any more, in milliseconds of the world's time.
pub const CALM: u64 = 120_000;

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub closures: Vec<ClosurePlan>,
    pub delivery: Delivery,
    pub recheck: Recheck,
    /// Whether checklist, tracker and queue keep markers.
    pub markers: [bool; 3],
    pub grace_seconds: u64,
    /// Few requests a second, one at a time.
    pub tight: bool,
    pub faults: Vec<Fault>,
}

#[derive(Clone, Debug)]
pub struct ClosurePlan {
    /// Record ids are given, not looked up.
    pub named: bool,
    pub coordinator: bool,
    /// When its object is made.
    pub created: u64,
    /// When a second object of the same key is made.
    pub twin: Option<u64>,
    /// Steps that people did before.
    pub done: [bool; 4],
    /// Somebody else's evidence link is on the tracker record.
    pub other_link: bool,
}

#[derive(Clone, Debug)]
pub struct Fault {
    pub when: When,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    At(u64),
    /// At the so-manieth read or write of a system.
    Request {
        role: Role,
        write: bool,
        nth: u32,
    },
    /// At the so-manieth status write.
    Store(u32),
}

/// Around one request or status write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    /// It takes effect; nobody hears of it.
    Between,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Refused,
    Hanging,
    Unavailable,
    /// A hundred times slower.
    Slow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    Reopen,
    Reaccept,
    NewVersion,
    OtherEvent,
    RenameMilestone,
    MoveMilestone,
    GovernanceMilestone,
    OtherVersion,
    Archived,
    BundleGone,
    OtherDigest,
    ArtifactGone,
    ItemOpen,
    OddChecklist,
    OddTracker,
    OddQueue,
    Foreign(u8),
    Do(u8),
    Undo(u8),
    Second,
    Gone(Role),
    Link,
    Touch(Role),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Crash(Moment),
    Lose { hang: bool },
    LoseReply { hang: bool },
    Late { milliseconds: u64 },
    Status { code: u16, retry_after: Option<u32>, own: bool, applied: bool },
    Garbage,
    CutOff,
    Page,
    Stale,
    Lie,
    Ignore { times: u8 },
    Outage { role: Role, how: How, lasts: u64 },
    Revoked { role: Role, lasts: u64 },
    Conflict { spec: bool },
    StoreFails { applied: bool },
    ReadFails { lasts: u64 },
    SecondHost { lasts: u64 },
    Clock { seconds: i64 },
    Watches { delay: u64, lasts: u64 },
    Cut { lasts: u64 },
    Recreate { closure: usize },
    Does { closure: usize, deed: Deed },
}

impl What {
    /// The pattern it is of, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            What::Crash(_) => "F1 crash",
            What::LoseReply { .. } | What::Status { applied: true, .. } => "F2 lost reply",
            What::Lose { .. } => "F3 lost request",
            What::Late { .. } => "F4 late effect",
            What::Stale => "F5 stale reply",
            What::Watches { .. } => "F6 held watch",
            What::Cut { .. } => "F6 cut watch",
            What::Recreate { .. } => "F7 re-created",
            What::Conflict { .. } => "F8 status conflict",
            What::StoreFails { .. } | What::ReadFails { .. } => "F8 API server fails",
            What::SecondHost { .. } => "F9 two replicas",
            What::Does { deed, .. } => match deed {
                Deed::Reopen | Deed::Reaccept => "F10 reopened",
                Deed::NewVersion | Deed::OtherEvent => "F10 accepted anew",
                Deed::Do(_) | Deed::Link => "F11 done by people",
                Deed::Undo(_) => "F11 undone by people",
                Deed::Touch(_) => "F11 touched by people",
                Deed::Gone(_) | Deed::Second | Deed::BundleGone => "F11 record gone or double",
                _ => "F11 changed by people",
            },
            What::Outage { .. } => "F12 outage",
            What::Lie => "F13 lie",
            What::Ignore { .. } => "F13 no effect",
            What::Clock { .. } => "F15 clock jump",
            What::Revoked { .. } => "F15 token revoked",
            What::Garbage | What::CutOff | What::Page => "garbage",
            What::Status { .. } => "status",
        }
    }
}

const AUTHORITIES: [Role; 5] = [Role::Governance, Role::Archive, Role::Checklist, Role::Tracker, Role::Queue];
const WRITTEN: [Role; 4] = [Role::Checklist, Role::Tracker, Role::Queue, Role::Intake];

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let count = [1, 1, 1, 2, 2, 3, 4][rng.usize(..7)];
        let closures = (0..count).map(|_| closure(rng)).collect();
        let delivery = [Delivery::IdempotencyKey, Delivery::Lookup, Delivery::None][rng.usize(..3)];
        let recheck = if rng.u8(..4) == 0 { Recheck::CloseAndClear } else { Recheck::EveryWrite };
        let markers = if rng.u8(..5) == 0 { [0; 3].map(|_| rng.bool()) } else { [true; 3] };
        let mut plan = Plan {
            seed,
            closures,
            delivery,
            recheck,
            markers,
            grace_seconds: if rng.bool() { 0 } else { 20 },
            tight: rng.u8(..10) == 0,
            faults: Vec::new(),
        };
        let faults = [0, 1, 1, 2, 2, 3, 3, 4, 5, 7][rng.usize(..10)];
        for _ in 0..faults {
            let fault = fault(rng, count);
            // A clock or a replica does not play two parts.
            let single = |what: &What| matches!(what, What::SecondHost { .. } | What::Clock { .. });
            if single(&fault.what) && plan.faults.iter().any(|other| single(&other.what)) {
                continue;
            }
            plan.faults.push(fault);
        }
        plan
    }

    pub fn has(&self, is: impl Fn(&What) -> bool) -> bool {
        self.faults.iter().any(|fault| is(&fault.what))
    }
}

fn closure(rng: &mut Rng) -> ClosurePlan {
    let people = rng.u8(..6) == 0;
    ClosurePlan {
        named: rng.bool(),
        coordinator: rng.bool(),
        created: if rng.bool() { 0 } else { rng.u64(..20_000) },
        twin: (rng.u8(..8) == 0).then(|| rng.u64(..60_000)),
        done: [0; 4].map(|_| people && rng.bool()),
        other_link: rng.u8(..3) == 0,
    }
}

fn at(rng: &mut Rng) -> When {
    // Most of what happens, happens in the first seconds.
    When::At(if rng.u8(..3) > 0 { rng.u64(1..400) } else { rng.u64(1..90_000) })
}

fn read(rng: &mut Rng) -> When {
    When::Request { role: Role::ALL[rng.usize(..6)], write: false, nth: rng.u32(1..8) }
}

fn write(rng: &mut Rng) -> When {
    When::Request { role: WRITTEN[rng.usize(..4)], write: true, nth: rng.u32(1..4) }
}

fn any(rng: &mut Rng) -> When {
    if rng.u8(..3) > 0 { write(rng) } else { read(rng) }
}

fn fault(rng: &mut Rng, closures: usize) -> Fault {
    let role = |rng: &mut Rng| Role::ALL[rng.usize(..6)];
    let lasts = |rng: &mut Rng| rng.u64(500..40_000);
    let (when, what) = match rng.u8(..34) {
        0..=2 => (any(rng), What::Crash([Moment::Before, Moment::Between, Moment::After][rng.usize(..3)])),
        3 => {
            (When::Store(rng.u32(1..5)), What::Crash([Moment::Before, Moment::Between, Moment::After][rng.usize(..3)]))
        }
        4 => (any(rng), What::Lose { hang: rng.bool() }),
        5..=6 => (any(rng), What::LoseReply { hang: rng.bool() }),
        7 => (write(rng), What::Late { milliseconds: rng.u64(10_000..22_000) }),
        8..=9 => {
            let (code, own) = *rng.choice(&STATUSES).expect("there are some");
            let retry_after = rng.bool().then(|| rng.u32(..30));
            (any(rng), What::Status { code, retry_after, own, applied: code >= 500 && rng.bool() })
        }
        10 => (any(rng), [What::Garbage, What::CutOff, What::Page][rng.usize(..3)]),
        11 => (read(rng), What::Stale),
        12 => (write(rng), What::Lie),
        13 => (write(rng), What::Ignore { times: rng.u8(1..5) }),
        14..=15 => {
            let how = [How::Refused, How::Hanging, How::Unavailable, How::Slow][rng.usize(..4)];
            (at(rng), What::Outage { role: role(rng), how, lasts: lasts(rng) })
        }
        16 => (at(rng), What::Revoked { role: role(rng), lasts: lasts(rng) }),
        17..=18 => (When::Store(rng.u32(1..5)), What::Conflict { spec: rng.bool() }),
        19 => (When::Store(rng.u32(1..5)), What::StoreFails { applied: rng.bool() }),
        20 => (at(rng), What::ReadFails { lasts: rng.u64(10..2_000) }),
        21..=22 => (at(rng), What::SecondHost { lasts: lasts(rng) }),
        23 => (at(rng), What::Clock { seconds: rng.i64(-7_200..7_200) }),
        24 => {
            let lasts = lasts(rng);
            let what =
                if rng.bool() { What::Cut { lasts } } else { What::Watches { delay: rng.u64(100..30_000), lasts } };
            (at(rng), what)
        }
        25 => (at(rng), What::Recreate { closure: rng.usize(..closures) }),
        _ => {
            let deed = deed(rng);
            let when = if rng.bool() { at(rng) } else { any(rng) };
            (when, What::Does { closure: rng.usize(..closures), deed })
        }
    };
    Fault { when, what }
}

/// Statuses, and whether they come in the system's own format.
const STATUSES: [(u16, bool); 18] = [
    (401, true),
    (403, true),
    (403, false),
    (404, false),
    (408, true),
    (409, true),
    (412, true),
    (422, true),
    (400, true),
    (422, false),
    (423, true),
    (425, true),
    (429, true),
    (429, false),
    (500, true),
    (502, false),
    (503, true),
    (504, false),
];

fn deed(rng: &mut Rng) -> Deed {
    let step = rng.u8(..4);
    match rng.u8(..30) {
        0..=3 => Deed::Reopen,
        4..=5 => Deed::Reaccept,
        6 => Deed::NewVersion,
        7 => Deed::OtherEvent,
        8 => Deed::RenameMilestone,
        9 => Deed::MoveMilestone,
        10 => Deed::GovernanceMilestone,
        11 => Deed::OtherVersion,
        12 => Deed::BundleGone,
        13 => Deed::OtherDigest,
        14 => Deed::ArtifactGone,
        15 => Deed::ItemOpen,
        16 => Deed::OddChecklist,
        17 => Deed::OddTracker,
        18 => Deed::OddQueue,
        19 => Deed::Foreign(step),
        20..=22 => Deed::Do(step),
        23..=24 => Deed::Undo(step),
        25 => Deed::Second,
        26 => Deed::Gone(AUTHORITIES[2 + rng.usize(..3)]),
        27 => Deed::Link,
        28 => Deed::Archived,
        _ => Deed::Touch(WRITTEN[rng.usize(..3)]),
    }
}
