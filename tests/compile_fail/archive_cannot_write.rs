//! The archive has no writing verb.
//
// error E0599: no method named `update` found for reference `&dyn

use releaseclosure::closure::order::Verified;
use releaseclosure::roles::{Archive, Permit};

async fn update(archive: &dyn Archive, order: Verified, permit: Permit) {
    archive.update(order, permit).await;
}

fn main() {}
