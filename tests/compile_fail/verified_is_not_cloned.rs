//! A permission is for one write, so there is no second one of it.
//
// error E0277: the trait bound `Verified: Clone` is not satisfied

use releaseclosure::closure::order::Verified;

fn copy(order: &Verified) -> Verified {
    Verified::clone(order)
}

fn main() {}
