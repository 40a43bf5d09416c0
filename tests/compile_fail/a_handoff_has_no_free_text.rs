//! What leaves the cluster is identifiers and links.
//
// error E0560: `HandoffBody` has no field named `note`

use releaseclosure::closure::order::HandoffBody;

fn main() {
    let _ = HandoffBody {
        release_id: String::new(),
        review_version: String::new(),
        service: String::new(),
        closure_key: String::new(),
        coordinator: None,
        links: Vec::new(),
        note: String::from("what the reviewers said"),
    };
}
