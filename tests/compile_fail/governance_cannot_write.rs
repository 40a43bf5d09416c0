//! Governance has no writing verb.
//
// error E0599: no method named `close` found for reference `&dyn

use releaseclosure::closure::order::Verified;
use releaseclosure::roles::{Governance, Permit};

async fn close(governance: &dyn Governance, order: Verified, permit: Permit) {
    governance.close(order, permit).await;
}

fn main() {}
