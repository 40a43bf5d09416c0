//! An issue and a repository as Gitea tells them.

use crate::closure::ids::is_id;
use crate::closure::snapshot::{MilestoneRef, Revision};
use crate::providers::issues::Issue;
use crate::providers::issues::form::Form;
use crate::providers::rest::json::{NotTheContract, is_shallow, parse};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest title of a milestone that is shown, in bytes.
const TITLE_MAX: usize = 256;

#[derive(Deserialize)]
struct IssueWire {
    number: u64,
    state: String,
    title: String,
    body: String,
    #[serde(default)]
    milestone: Option<MilestoneWire>,
    #[serde(default)]
    labels: Option<Vec<Named>>,
    #[serde(default)]
    pull_request: Option<serde::de::IgnoredAny>,
    content_version: u64,
}

/// What of a label is looked at.
#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize, Serialize)]
struct MilestoneWire {
    id: u64,
    title: String,
}

/// An issue, and the version of its text that a change of it names.
pub(super) struct Read {
    pub(super) issue: Issue,
    pub(super) content_version: u64,
    pub(super) labels: Vec<String>,
    pub(super) revision: Revision,
}

/// One issue.
///
/// # Errors
/// The body is none; a pull request is none either.
pub(super) fn issue(body: &[u8]) -> Result<Read, NotTheContract> {
    understood(parse(body)?).ok_or(NotTheContract)
}

/// A page of issues. Pull requests are left out.
///
/// # Errors
/// The body is no list of issues.
pub(super) fn issues(body: &[u8]) -> Result<Vec<Read>, NotTheContract> {
    let page: Vec<IssueWire> = list(body)?;
    Ok(page.into_iter().filter_map(understood).collect())
}

/// Whether any of a page of issues is open. A state that is none of the two counts as open.
///
/// # Errors
/// The body is no list of issues.
pub(super) fn any_open(body: &[u8]) -> Result<bool, NotTheContract> {
    #[derive(Deserialize)]
    struct Stateful {
        state: String,
    }
    Ok(list::<Stateful>(body)?.iter().any(|issue| issue.state != "closed"))
}

/// Whether every issue of a page has a version of its text.
///
/// # Errors
/// The body is no list of issues.
pub(super) fn all_versioned(body: &[u8]) -> Result<bool, NotTheContract> {
    #[derive(Deserialize)]
    struct Versioned {
        content_version: Option<u64>,
    }
    Ok(list::<Versioned>(body)?.iter().all(|issue| issue.content_version.is_some()))
}

/// A page of labels, by their names.
///
/// # Errors
/// The body is no list of labels.
pub(super) fn label_names(body: &[u8]) -> Result<Vec<String>, NotTheContract> {
    Ok(list::<Named>(body)?.into_iter().map(|label| label.name).collect())
}

fn list<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, NotTheContract> {
    if !is_shallow(body) {
        return Err(NotTheContract);
    }
    serde_json::from_slice(body).map_err(|_| NotTheContract)
}

fn understood(wire: IssueWire) -> Option<Read> {
    let IssueWire { number, state, title, body, milestone, labels, pull_request, content_version } = wire;
    let labels = labels.unwrap_or_default().into_iter().map(|label| label.name).collect();
    let closed = match state.as_str() {
        "open" => false,
        "closed" => true,
        _ => return None,
    };
    let milestone = milestone.map(|milestone| {
        let MilestoneWire { id, mut title } = milestone;
        let mut end = title.len().min(TITLE_MAX);
        while !title.is_char_boundary(end) {
            end -= 1;
        }
        title.truncate(end);
        MilestoneRef { id: id.to_string(), title }
    });
    // The text's version counts changes of the text alone. What else is compared is part of the revision, too.
    let beside = milestone.as_ref().map(|milestone| (milestone.id.as_str(), milestone.title.as_str()));
    let beside = serde_json::to_vec(&(closed, &title, beside)).ok()?;
    let digest = hex::encode(&Sha256::digest(beside)[..8]);
    let id = number.to_string();
    let revision = Revision(format!("{content_version}-{digest}"));
    let issue = Issue { id, closed, milestone, form: Form::new(body) };
    (pull_request.is_none() && is_id(&issue.id)).then_some(Read { issue, content_version, labels, revision })
}

/// What the repository is, and what the token may do there.
#[derive(Deserialize)]
pub(super) struct Repository {
    /// Read only.
    #[serde(default)]
    pub(super) archived: bool,
    /// Whether it has issues, here or elsewhere.
    #[serde(default)]
    has_issues: bool,
    /// Where elsewhere.
    #[serde(default)]
    external_tracker: Option<serde::de::IgnoredAny>,
    /// What the token's user may do.
    #[serde(default)]
    pub(super) permissions: Permissions,
}

impl Repository {
    /// Whether it has issues of its own.
    pub(super) fn keeps_issues(&self) -> bool {
        self.has_issues && self.external_tracker.is_none()
    }
}

/// What a user may do in a repository.
#[derive(Default, Deserialize)]
pub(super) struct Permissions {
    /// Write.
    #[serde(default)]
    pub(super) push: bool,
}

/// The repository.
///
/// # Errors
/// The body is none.
pub(super) fn repository(body: &[u8]) -> Result<Repository, NotTheContract> {
    parse(body)
}

/// Whether a body is one of Gitea's own errors.
pub(super) fn is_own_error(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Error {
        #[serde(rename = "message")]
        _message: String,
    }
    parse::<Error>(body).is_ok()
}
