//! One write uses a permission up.
//
// error E0382: use of moved value: `order`

use releaseclosure::closure::order::Verified;
use releaseclosure::roles::{Checklist, Permit};

async fn twice(checklist: &dyn Checklist, order: Verified, first: Permit, second: Permit) {
    checklist.close(order, first).await;
    checklist.close(order, second).await;
}

fn main() {}
