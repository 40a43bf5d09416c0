//! Five steps, and none of them deploys.
//
// error E0599: no variant or associated item named `Deploy` found

use releaseclosure::closure::ids::Step;

fn main() {
    let _ = Step::Deploy;
}
