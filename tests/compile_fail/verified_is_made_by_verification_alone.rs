//! A permission for a write cannot be made by hand.
//
// error E0451: of struct `Verified` are private

use releaseclosure::closure::ids::{ClosureKey, Step};
use releaseclosure::closure::order::{Change, Verified};

fn main() {
    let _ = Verified {
        step: Step::CloseChecklist,
        key: ClosureKey::new("r", "RR", "3"),
        uid: String::new(),
        record: String::from("CHK-1"),
        revision: None,
        change: Change::Close,
    };
}
