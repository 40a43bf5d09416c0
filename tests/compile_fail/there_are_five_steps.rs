//! Whoever matches four of the steps has forgotten one, and only one.
//
// error E0004: Step::NotifyCoordinator` not covered

use releaseclosure::closure::ids::Step;

fn all(step: Step) {
    match step {
        Step::CloseChecklist
        | Step::ApproveTracker
        | Step::AttachEvidence
        | Step::ClearQueueEntry => {}
    }
}

fn main() {}
