//! The counter-check: what is forbidden beside this file fails for its own reason, and not because nothing compiles.
//
// compiles

use releaseclosure::closure::order::{HandoffBody, Verified};
use releaseclosure::roles::{Checklist, Governance, Permit, Subject};

async fn allowed(governance: &dyn Governance, checklist: &dyn Checklist, order: Verified, permit: Permit) -> HandoffBody {
    let subject = Subject { record: None, release: "r", review_version: "3" };
    governance.review(subject, Some(&permit)).await;
    checklist.close(order, permit).await;
    HandoffBody {
        release_id: String::new(),
        review_version: String::new(),
        service: String::new(),
        closure_key: String::new(),
        coordinator: None,
        links: Vec::new(),
    }
}

fn main() {
    let _ = allowed;
}
