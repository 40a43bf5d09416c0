//! Whether the small world says what the production code sees: every combination of cells, turned into records, is held
//! against the production checks. What the model thinks of agreement, of done and of markers is its own; here the two
//! opinions meet.

use super::records::{self, Told};
use super::world::{Attached, Bundle, FIVE, Records, Source, Tracker, TwoState, Uid, bit, flag};
use releaseclosure_core::accepted::Recheck;
use releaseclosure_core::checks::{self, Facts};
use releaseclosure_core::decide::{Delivery, Pass};
use releaseclosure_core::ids::{Step, System};
use releaseclosure_core::ledger::Ledger;
use releaseclosure_core::observed::observed;
use releaseclosure_core::snapshot::{Look, Marking};

const BY: [Option<Uid>; 3] = [None, Some(0), Some(1)];
const BOOL: [bool; 2] = [false, true];

fn two_states() -> Vec<TwoState> {
    BOOL.into_iter().flat_map(|done| BY.map(|by| TwoState { done, by, revision: 7 })).collect()
}

fn trackers() -> Vec<Tracker> {
    let mut all = Vec::new();
    for link in [Attached::No, Attached::ByPeople, Attached::By(0), Attached::By(1)] {
        for (approved, by) in two_states().into_iter().map(|state| (state.done, state.by)) {
            for foreign_link in BOOL {
                all.extend(BOOL.map(|renamed| Tracker { approved, by, link, foreign_link, renamed, revision: 9 }));
            }
        }
    }
    all
}

/// Holds every world against the checks; gives how many there were.
///
/// # Errors
/// The first on which the two disagree.
pub fn check() -> Result<usize, String> {
    let mut worlds = 0;
    for source in [Source::Accepted, Source::Reopened, Source::NewVersion] {
        for bundle in [Bundle::Here, Bundle::Gone, Bundle::OtherDigest] {
            for checklist in two_states() {
                for tracker in trackers() {
                    for queue in two_states() {
                        for markers in BOOL {
                            is_seen(Records { source, bundle, checklist, tracker, queue }, markers)?;
                            worlds += 1;
                        }
                    }
                }
            }
        }
    }
    Ok(worlds)
}

fn is_seen(world: Records, markers: bool) -> Result<(), String> {
    let told = Told { uid: 0, settled: false, ineffective: None, intake_away: false, late: false };
    let terms = records::Terms { delivery: Delivery::Lookup, forgets: false };
    let brief = records::brief(terms, Recheck::EveryWrite, told);
    let ledger = Ledger::default().checked().map_err(|invalid| invalid.to_string())?;
    let mut pass = Pass::begin(ledger);
    for system in System::AUTHORITIES {
        let sighting = records::sighting(world, system, markers).ok_or("no sighting")?;
        pass.observed(sighting, 0);
    }
    let facts = Facts {
        accepted: &brief.accepted,
        rules: &brief.rules,
        ledger: pass.ledger(),
        snapshot: pass.snapshot(),
        now: records::now(false),
    };
    let report = checks::run(facts);
    let found = report.findings.iter().fold(0, |set, finding| set | flag(finding.system));
    let undone = if markers { (world.marked_by(0) | world.marked_by(1)) & !world.done() } else { 0 };
    let undone = Step::ALL.into_iter().filter(|step| undone & bit(*step) != 0);
    let disagreeing = undone.fold(FIVE & !world.agreeing(), |set, step| set | flag(step.system()));
    let missing = world.bundle == Bundle::Gone;
    let mut same = found == disagreeing && report.stale.is_empty();
    same &= (pass.snapshot().look(System::Archive) == Look::Missing) == missing;
    for step in &Step::ALL[..4] {
        let state = observed(facts, *step).ok_or("a record that does not show")?;
        let by = |uid| matches!(state.marking, Marking::By(marker) if marker.uid == records::uid(uid));
        let marked = [0, 1].map(|uid| markers && world.marked_by(uid) & bit(*step) != 0);
        same &= state.done == (world.done() & bit(*step) != 0);
        same &= marked == [by(0), by(1)] && (*state.marking == Marking::NotCarried) != markers;
    }
    if same { Ok(()) } else { Err(format!("markers {markers}, {world:?}\n{report:?}")) }
}
