//! Issues, comments, labels and a repository as GitHub tells them, and how it asks to be left alone.

use crate::closure::ids::is_id;
use crate::closure::snapshot::{EvidenceLink, Marking, MilestoneRef, Progress, Revision};
use crate::providers::issues::Issue;
use crate::providers::issues::form::Form;
use crate::providers::limits::RETRY_AFTER_MAX;
use crate::providers::rest::json::{NotTheContract, is_shallow, parse};
use crate::providers::rest::reply;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Longest title of a milestone that is shown, in bytes.
const TITLE_MAX: usize = 256;
/// How long GitHub asks to wait where it does not say how long.
/// <https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api>, "Handle rate limit errors".
const UNTOLD: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct IssueWire {
    number: u64,
    state: String,
    #[serde(default)]
    state_reason: Option<String>,
    title: String,
    #[serde(default)]
    body: Option<String>,
    labels: Vec<LabelWire>,
    #[serde(default)]
    milestone: Option<MilestoneWire>,
    #[serde(default)]
    pull_request: Option<IgnoredAny>,
    comments: u64,
    updated_at: Timestamp,
    #[serde(default)]
    closed_by: Option<UserWire>,
    #[serde(default)]
    sub_issues_summary: Option<SubIssues>,
}

/// How many sub-issues an issue has, and how many of them are done. Servers of before there were any say nothing of them.
#[derive(Clone, Copy, Default, Deserialize, Serialize)]
pub(super) struct SubIssues {
    pub(super) total: u64,
    pub(super) completed: u64,
}

#[derive(Deserialize)]
struct MilestoneWire {
    number: u64,
    title: String,
}

/// A label is an object, and in old issues may be its name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum LabelWire {
    Name(String),
    Label { name: String },
}

#[derive(Deserialize)]
struct UserWire {
    id: u64,
    login: String,
    #[serde(default, rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct CommentWire {
    id: u64,
    #[serde(default)]
    body: Option<String>,
    user: Option<UserWire>,
    #[serde(default)]
    performed_via_github_app: Option<AppWire>,
}

#[derive(Deserialize)]
struct AppWire {
    id: u64,
}

/// An issue.
pub(super) struct Read {
    pub(super) issue: Issue,
    /// Open, closed as done, or closed as something else.
    pub(super) progress: Progress,
    pub(super) labels: Vec<String>,
    /// How many comments it has.
    pub(super) comments: u64,
    pub(super) sub_issues: SubIssues,
    pub(super) revision: Revision,
}

/// A comment.
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) author: Author,
    /// The evidence links in it, each with the mark that it bears, whoever wrote it.
    pub(super) links: Vec<EvidenceLink>,
}

/// Who wrote a comment.
pub(super) struct Author {
    pub(super) user: Option<u64>,
    /// The App by which it was written, where no person was there.
    pub(super) app: Option<u64>,
}

/// One issue.
///
/// # Errors
/// The body is none; a pull request is none either.
pub(super) fn issue(body: &[u8]) -> Result<Read, NotTheContract> {
    understood(parse(body)?).ok_or(NotTheContract)
}

/// A page of issues. Pull requests are left out, and counted: the second number is how many there were of either.
///
/// # Errors
/// The body is no list of issues.
pub(super) fn issues(body: &[u8]) -> Result<(Vec<Read>, usize), NotTheContract> {
    let page: Vec<IssueWire> = list(body)?;
    let all = page.len();
    Ok((page.into_iter().filter_map(understood).collect(), all))
}

/// A page of comments.
///
/// # Errors
/// The body is no list of comments.
pub(super) fn comments(body: &[u8]) -> Result<Vec<Comment>, NotTheContract> {
    Ok(list::<CommentWire>(body)?.into_iter().map(remark).collect())
}

/// One comment.
///
/// # Errors
/// The body is none.
pub(super) fn comment(body: &[u8]) -> Result<Comment, NotTheContract> {
    Ok(remark(parse(body)?))
}

/// The names of labels.
///
/// # Errors
/// The body is no list of labels.
pub(super) fn labels(body: &[u8]) -> Result<Vec<String>, NotTheContract> {
    Ok(names(list(body)?))
}

/// The id of the token's user.
///
/// # Errors
/// The body is no user.
pub(super) fn user(body: &[u8]) -> Result<u64, NotTheContract> {
    Ok(parse::<UserWire>(body)?.id)
}

fn list<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, NotTheContract> {
    if !is_shallow(body) {
        return Err(NotTheContract);
    }
    serde_json::from_slice(body).map_err(|_| NotTheContract)
}

fn names(labels: Vec<LabelWire>) -> Vec<String> {
    labels.into_iter().map(|(LabelWire::Name(name) | LabelWire::Label { name })| name).collect()
}

fn remark(wire: CommentWire) -> Comment {
    let CommentWire { id, body, user, performed_via_github_app } = wire;
    let app = performed_via_github_app.filter(|_| user.as_ref().is_some_and(|user| user.kind == "Bot"));
    let author = Author { user: user.map(|user| user.id), app: app.map(|app| app.id) };
    Comment { id, author, links: Form::new(body.unwrap_or_default()).all_links() }
}

fn understood(wire: IssueWire) -> Option<Read> {
    let IssueWire {
        number,
        state,
        state_reason,
        title,
        body,
        labels,
        milestone,
        pull_request,
        comments,
        updated_at,
        closed_by,
        sub_issues_summary,
    } = wire;
    let sub_issues = sub_issues_summary.unwrap_or_default();
    let (closed, progress) = match (state.as_str(), state_reason.as_deref()) {
        ("open", _) => (false, Progress::ToDo(state.clone())),
        // An issue that was closed before there were reasons has none.
        ("closed", None | Some("completed")) => (true, Progress::Done(closed_word(closed_by))),
        ("closed", Some("not_planned")) => (true, Progress::Other("closed as not planned".to_owned())),
        ("closed", Some("duplicate")) => (true, Progress::Other("closed as a duplicate".to_owned())),
        ("closed", Some(_)) => (true, Progress::Other("closed for another reason".to_owned())),
        _ => return None,
    };
    let milestone = milestone.map(|milestone| {
        let MilestoneWire { number, mut title } = milestone;
        let mut end = title.len().min(TITLE_MAX);
        while !title.is_char_boundary(end) {
            end -= 1;
        }
        title.truncate(end);
        MilestoneRef { id: number.to_string(), title }
    });
    let (id, labels, body) = (number.to_string(), names(labels), body.unwrap_or_default());
    let beside = milestone.as_ref().map(|milestone| (milestone.id.as_str(), milestone.title.as_str()));
    // The time of the last change has whole seconds: of two changes in one, the digest tells.
    let digest = digest(&(&state, &state_reason, &title, &body, &labels, beside, sub_issues))?;
    let revision = Revision(format!("{updated_at}-{digest}"));
    let issue = Issue { id, closed, milestone, form: Form::new(body) };
    let read = Read { issue, progress, labels, comments, sub_issues, revision };
    (pull_request.is_none() && is_id(&read.issue.id)).then_some(read)
}

/// The word for closed, with the name of whoever closed it, for people to read.
fn closed_word(by: Option<UserWire>) -> String {
    let name = |login: &str| login.len() <= 64 && login.bytes().all(|byte| byte.is_ascii_graphic());
    by.filter(|user| name(&user.login)).map_or_else(|| "closed".to_owned(), |user| format!("closed by {}", user.login))
}

/// The revision of a tracker record: that of its issue, and of the links in its comments.
pub(super) fn revision(issue: &Revision, links: &[EvidenceLink]) -> Option<Revision> {
    let links: Vec<_> = links
        .iter()
        .map(|EvidenceLink { bundle, digest, url, marking, as_read: _ }| {
            (bundle, digest, url, matches!(marking, Marking::By(_)))
        })
        .collect();
    Some(Revision(format!("{}-{}", issue.0, digest(&links)?)))
}

fn digest(of: &impl Serialize) -> Option<String> {
    Some(hex::encode(&Sha256::digest(serde_json::to_vec(of).ok()?)[..8]))
}

/// What the repository is, and what the token may do there.
#[derive(Deserialize)]
pub(super) struct Repository {
    /// Read only.
    #[serde(default)]
    pub(super) archived: bool,
    /// Shut by GitHub.
    #[serde(default)]
    pub(super) disabled: bool,
    /// Whether it has issues.
    #[serde(default)]
    pub(super) has_issues: bool,
    /// What the token's user may do; an App's token says nothing of use here.
    #[serde(default)]
    pub(super) permissions: Option<Permissions>,
}

/// What a user may do in a repository.
#[derive(Deserialize)]
pub(super) struct Permissions {
    /// Write.
    #[serde(default)]
    pub(super) push: bool,
    /// Close issues and put labels on them.
    #[serde(default)]
    pub(super) triage: bool,
}

/// The repository.
///
/// # Errors
/// The body is none.
pub(super) fn repository(body: &[u8]) -> Result<Repository, NotTheContract> {
    parse(body)
}

#[derive(Deserialize)]
struct Error {
    message: String,
}

/// Whether a body is one of GitHub's own errors.
pub(super) fn is_own_error(body: &[u8]) -> bool {
    parse::<Error>(body).is_ok()
}

/// How long the headers of a 403 or 429 ask to wait: a `Retry-After`, or a quota that is used up until a time.
pub(super) fn wait_by_headers(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(wait) = text(RETRY_AFTER.as_str()).and_then(|value| reply::retry_after(value, || now)) {
        return Some(wait);
    }
    if text("x-ratelimit-remaining")?.trim() != "0" {
        return None;
    }
    let reset = text("x-ratelimit-reset").and_then(|reset| Timestamp::from_second(reset.trim().parse().ok()?).ok());
    let wait = reset.and_then(|reset| Duration::try_from(reset.duration_since(now)).ok());
    // A quota that is used up, and is to be had again in the past, is one whose time was told by another clock.
    Some(wait.unwrap_or(UNTOLD).clamp(Duration::from_secs(1), RETRY_AFTER_MAX))
}

/// How long the words of a 403 ask to wait: of a secondary rate limit they may be all there is.
pub(super) fn wait_by_words(body: &[u8]) -> Option<Duration> {
    let Error { message } = parse(body).ok()?;
    let message = message.to_ascii_lowercase();
    ["secondary rate limit", "abuse detection"].iter().any(|words| message.contains(words)).then_some(UNTOLD)
}
