//! Whatever people write into an issue: it is read, and a mark that is left there is read back.

use super::form::Form;
use super::{Headings, Issue};
use crate::closure::ids::{Step, is_id};
use crate::closure::snapshot::{Marker, Marking};
use crate::fuzz::fuzz;

/// What every product's issue keeps: its id goes into paths, and what is compared is short.
pub(in crate::providers) fn assert_fit(issue: &Issue) {
    assert!(is_id(&issue.id));
    let headings: Headings = serde_json::from_str("{}").unwrap();
    let (review, tracker) = (issue.review(&headings), issue.tracker(&headings));
    assert!(review.version.len() <= 256 && review.state.len() <= 256 && tracker.state.len() <= 256);
    assert!(tracker.milestone.title.len() <= 256 && tracker.evidence.len() <= 1000);
    assert!(issue.checklist(&headings).open_items.len() <= 1000 && issue.entry(&headings).id == issue.id);
}

fn text(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut form = Form::new(text.to_owned());
    let marker = Marker { key: "a-1@b@3".to_owned(), uid: "u-->\n1".to_owned() };
    form.mark(Step::CloseChecklist, &marker);
    assert_eq!(form.marking(Step::CloseChecklist), Marking::By(marker.clone()));
    let once = form.clone();
    form.mark(Step::CloseChecklist, &marker);
    assert_eq!(form, once, "a mark takes its own place");
    if form.set("Status", "Approved").is_some() {
        assert_eq!(form.value("Status"), "Approved");
    }
    form.value("Release") == "payments-2026.11.3" || form.has("Status")
}

fuzz!(texts, "form", 1000, text);
