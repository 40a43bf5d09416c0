//! An issue as a record in each of four roles, and our own remote link.

use super::rows::{self, Rows};
use super::wire::{Issue, RemoteLink};
use crate::closure::ids::Step;
use crate::closure::snapshot::{
    ChecklistRecord, EvidenceLink, Marker, Marking, Progress, QueueRecord, ReleaseRef, ReviewRecord, TrackerRecord,
};
use crate::products::Jira;
use crate::products::jira::{Fields, IssueTypes};
use crate::providers::issues::form::{self, Form, cut};
use sha2::{Digest as _, Sha256};

/// Longest key of a remote link, in bytes: Jira takes 255 characters.
/// <https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-remote-links/>, `globalId`.
const GLOBAL_ID_MAX: usize = 255;
/// Longest title of a remote link, and longest value of a short text field, in bytes.
pub(super) const SHORT_MAX: usize = 255;

/// A kind of record.
pub(super) trait Record: Sized + Send {
    /// How it is read.
    const ROWS: &'static Rows;
    /// Whether it is of one review version.
    const VERSIONED: bool = true;
    /// The type of its issues.
    fn issue_type(types: &IssueTypes) -> &str;
    /// Makes it of an issue and its remote links.
    fn of(issue: &Issue, links: &[RemoteLink], jira: &Jira) -> Self;
}

impl Record for ReviewRecord {
    const ROWS: &'static Rows = &rows::OF_REVIEWS;
    fn issue_type(types: &IssueTypes) -> &str {
        &types.review
    }
    /// The decision is the issue's status.
    fn of(issue: &Issue, _: &[RemoteLink], jira: &Jira) -> ReviewRecord {
        let Fields { review_version, bundle, digest, accepted_event, .. } = &jira.fields;
        ReviewRecord {
            id: issue.key.clone(),
            version: issue.value(Some(review_version)),
            state: cut(&issue.status.name).to_owned(),
            release: release(issue, &jira.fields),
            milestone: Some(issue.milestone.clone()),
            evidence: Some((issue.value(bundle.as_deref()), issue.value(digest.as_deref()))),
            accepted_event: issue.whole(accepted_event.as_deref()).map(|event| cut(event.trim()).to_owned()),
        }
    }
}

impl Record for ChecklistRecord {
    const ROWS: &'static Rows = &rows::OF_CHECKLISTS;
    fn issue_type(types: &IssueTypes) -> &str {
        &types.checklist
    }
    /// Its items are the action items of the description, and the subtasks.
    fn of(issue: &Issue, _: &[RemoteLink], jira: &Jira) -> ChecklistRecord {
        let mut open_items = Form::new(issue.description.clone()).open_items();
        open_items.extend(issue.open_subtasks.iter().cloned());
        ChecklistRecord {
            id: issue.key.clone(),
            release_id: issue.value(Some(&jira.fields.release)),
            review_version: issue.value(Some(&jira.fields.review_version)),
            state: progress(issue, &jira.statuses.closed),
            open_items,
            marking: marking(issue, &jira.fields, Step::CloseChecklist),
        }
    }
}

impl Record for TrackerRecord {
    const ROWS: &'static Rows = &rows::OF_RELEASES;
    const VERSIONED: bool = false;
    fn issue_type(types: &IssueTypes) -> &str {
        &types.release
    }
    fn of(issue: &Issue, links: &[RemoteLink], jira: &Jira) -> TrackerRecord {
        TrackerRecord {
            id: issue.key.clone(),
            release: release(issue, &jira.fields),
            state: cut(&issue.status.name).to_owned(),
            milestone: issue.milestone.clone(),
            evidence: links.iter().filter_map(evidence).collect(),
            marking: marking(issue, &jira.fields, Step::ApproveTracker),
        }
    }
}

impl Record for QueueRecord {
    const ROWS: &'static Rows = &rows::OF_QUEUE;
    fn issue_type(types: &IssueTypes) -> &str {
        &types.queue
    }
    fn of(issue: &Issue, _: &[RemoteLink], jira: &Jira) -> QueueRecord {
        QueueRecord {
            id: issue.key.clone(),
            release_id: issue.value(Some(&jira.fields.release)),
            review_version: issue.value(Some(&jira.fields.review_version)),
            state: progress(issue, &jira.statuses.cleared),
            marking: marking(issue, &jira.fields, Step::ClearQueueEntry),
        }
    }
}

fn release(issue: &Issue, fields: &Fields) -> ReleaseRef {
    let value = |setting: &Option<String>| setting.as_deref().map(|setting| issue.value(Some(setting)));
    ReleaseRef {
        id: issue.value(Some(&fields.release)),
        service: value(&fields.service),
        version: value(&fields.version),
    }
}

/// An issue that is done otherwise, such as a rejected one, is neither done nor to be done.
fn progress(issue: &Issue, done: &str) -> Progress {
    let word = cut(&issue.status.name).to_owned();
    if issue.status.name == done {
        Progress::Done(word)
    } else if issue.status.is_done {
        Progress::Other(word)
    } else {
        Progress::ToDo(word)
    }
}

fn marking(issue: &Issue, fields: &Fields, step: Step) -> Marking {
    match issue.whole(fields.marker.as_deref()) {
        None => Marking::NotCarried,
        Some(mark) => form::marker_in(mark.trim(), step).map_or(Marking::Unmarked, Marking::By),
    }
}

/// The key of a closure's own remote link: one closure has one, whoever adds it however often.
pub(super) fn global_id(key: &str) -> String {
    let plain = format!("releaseclosure={key}");
    if plain.len() <= GLOBAL_ID_MAX {
        plain
    } else {
        format!("releaseclosure=sha256:{}", hex::encode(Sha256::digest(key)))
    }
}

/// The text below our own link: the digest, and our mark.
pub(super) fn summary(digest: &str, marker: &Marker) -> String {
    format!("{digest} {}", form::mark(Step::AttachEvidence, marker))
}

/// The evidence link that a remote link is: its title is the bundle, and its summary begins with the digest; or, where people made
/// it by hand, which gives it no summary, the digest is the title's last word. What has no digest is no evidence link.
fn evidence(link: &RemoteLink) -> Option<EvidenceLink> {
    let RemoteLink { global_id, object } = link;
    let summary = object.summary.as_deref().unwrap_or_default().trim();
    let (bundle, digest, mark) = match summary.split_once(' ') {
        Some((digest, mark)) => (object.title.trim(), digest, mark),
        None if !summary.is_empty() => (object.title.trim(), summary, ""),
        None => object.title.trim().rsplit_once(' ').map(|(bundle, digest)| (bundle.trim(), digest, ""))?,
    };
    if !digest.contains(':') || object.url.len() > 2048 {
        return None;
    }
    // A mark that somebody copied into another link is no mark.
    let marker = form::marker_in(mark, Step::AttachEvidence)
        .filter(|marker| global_id.as_deref() == Some(&self::global_id(&marker.key)));
    Some(EvidenceLink {
        bundle: cut(bundle).to_owned(),
        digest: cut(digest).to_owned(),
        url: object.url.clone(),
        marking: marker.map_or(Marking::Unmarked, Marking::By),
        as_read: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::jira::wire::Object;

    fn link(global_id: Option<&str>, title: &str, summary: Option<&str>) -> RemoteLink {
        let url = "https://archive.example.com/r-1/rv3".to_owned();
        let object = Object { url, title: title.to_owned(), summary: summary.map(str::to_owned) };
        RemoteLink { global_id: global_id.map(str::to_owned), object }
    }

    #[test]
    fn a_remote_link_has_one_key_a_closure_that_jira_takes() {
        assert_eq!(global_id("r-1@RR-1@3"), "releaseclosure=r-1@RR-1@3");
        let long = |last: &str| format!("{}@{}@{last}", "r".repeat(128), "R".repeat(128));
        for key in [long(&"3".repeat(128)), long("3")] {
            assert!(global_id(&key).len() <= GLOBAL_ID_MAX, "{key}");
        }
        assert_ne!(global_id(&long("3")), global_id(&long("4")), "the end of a long key counts");
        // The last one that stands there as it is.
        let fits = "k".repeat(GLOBAL_ID_MAX - "releaseclosure=".len());
        assert!(global_id(&fits).ends_with(&fits) && !global_id(&format!("{fits}k")).ends_with('k'));
    }

    #[test]
    fn evidence_is_what_has_a_digest_and_a_mark_is_ours_below_our_key() {
        let marker = Marker { key: "r-1@RR-1@3".to_owned(), uid: "u-1".to_owned() };
        let ours = summary("sha256:0a", &marker);
        let read = |link: RemoteLink| evidence(&link).map(|link| (link.bundle, link.digest, link.marking));
        let unmarked = |bundle: &str| Some((bundle.to_owned(), "sha256:0a".to_owned(), Marking::Unmarked));
        let key = global_id(&marker.key);
        let by_us = Some(("r-1/rv3".to_owned(), "sha256:0a".to_owned(), Marking::By(marker)));
        assert_eq!(read(link(Some(&key), "r-1/rv3", Some(&ours))), by_us);
        for copied in [None, Some("releaseclosure=r-2@RR-1@3"), Some("theirs")] {
            assert_eq!(read(link(copied, "r-1/rv3", Some(&ours))), unmarked("r-1/rv3"), "{copied:?}");
        }
        assert_eq!(read(link(None, "r-1/rv3 sha256:0a", None)), unmarked("r-1/rv3"));
        assert_eq!(read(link(None, "r-1/rv3", Some("sha256:0a"))), unmarked("r-1/rv3"));
        for other in [link(None, "The wiki", None), link(None, "Wiki", Some("by hand")), link(None, "", Some(""))] {
            assert_eq!(read(other), None);
        }
    }
}
