//! What is read of GitHub. Has no way to write.

use super::app::Tokens;
use super::rows;
use super::wire::{self, Author, Comment, Read, SubIssues};
use crate::closure::ids::{System, is_id};
use crate::closure::snapshot::{
    ChecklistRecord, EvidenceLink, Marking, Observation, QueueRecord, ReviewRecord, Revision, TrackerRecord, Trouble,
    Unreachable,
};
use crate::products::GitHub;
use crate::products::issues::Headings;
use crate::providers::limits::Entered;
use crate::providers::rest::client::Reader;
use crate::providers::rest::reply::{Came, Fate};
use crate::providers::rest::table::{Fill, Request, Row};
use crate::roles::{Abilities, Concurrency, Governance, Permit, Probe, Prober, Subject};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Most pages of a look-up, of thirty issues each.
const ISSUE_PAGES_MAX: u64 = 40;
/// Most pages of the repository's labels, of a hundred each.
const LABEL_PAGES_MAX: u64 = 20;
/// Most pages of an issue's comments, of fifty each.
const COMMENT_PAGES_MAX: u64 = 20;

/// One repository.
pub(super) struct Sources {
    pub(super) reader: Reader,
    pub(super) github: GitHub,
    /// Where the connection is an App's.
    tokens: Option<Arc<Tokens>>,
    /// The id of the token's user, once it is known.
    user: OnceCell<u64>,
}

/// Why there is no record.
pub(super) enum Missed {
    Missing,
    Ambiguous(usize),
    Unreachable(Unreachable),
}

impl From<Trouble> for Missed {
    fn from(trouble: Trouble) -> Missed {
        Missed::Unreachable(trouble.into())
    }
}

fn observed<R>(read: Result<(R, Revision), Missed>) -> Observation<R> {
    match read {
        Ok((record, revision)) => Observation::Found(record, revision),
        Err(Missed::Missing) => Observation::Missing,
        Err(Missed::Ambiguous(many)) => Observation::Ambiguous(many),
        Err(Missed::Unreachable(why)) => Observation::Unreachable(why),
    }
}

pub(super) type View<R> = fn(&Read, &Headings) -> R;

/// As the readiness checklist: done where the issue is closed as done. Its items are the task list and the sub-issues, of which
/// GitHub tells with the issue how many there are.
pub(super) fn checklist(read: &Read, headings: &Headings) -> ChecklistRecord {
    let mut record = read.issue.checklist(headings);
    let SubIssues { total, completed } = read.sub_issues;
    if completed < total {
        record.open_items.push(format!("{} of {total} sub-issues", total - completed));
    }
    ChecklistRecord { state: read.progress.clone(), marking: Marking::NotCarried, ..record }
}

/// As an entry of the review queue, likewise.
pub(super) fn entry(read: &Read, headings: &Headings) -> QueueRecord {
    QueueRecord { state: read.progress.clone(), marking: Marking::NotCarried, ..read.issue.entry(headings) }
}

#[async_trait]
impl Governance for Sources {
    async fn review(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<ReviewRecord> {
        let Some(id) = subject.record else { return Observation::Unreachable(Trouble::NotUnderstood.into()) };
        let read = async {
            let mut entered = self.reader.enter(held).await.map_err(Missed::Unreachable)?;
            let read = self.issue(&mut entered, &rows::REVIEW, id).await?;
            Ok((read.issue.review(&self.github.headings), read.revision))
        };
        observed(read.await)
    }
}

impl Sources {
    pub(super) fn new(reader: Reader, github: GitHub, tokens: Option<Arc<Tokens>>) -> Sources {
        Sources { reader, github, tokens, user: OnceCell::new() }
    }

    /// A row's request about the repository. The first fill names the record.
    pub(super) fn request(&self, row: &Row, fills: &[(&str, Fill<'_>)]) -> Option<Request> {
        let (owner, name) = self.github.owner_and_name()?;
        let mut fills = fills.to_vec();
        fills.push(("owner", Fill::Text(owner)));
        fills.push(("name", Fill::Text(name)));
        row.request(&fills)
    }

    /// A checklist or a queue entry.
    pub(super) async fn record<R>(
        &self,
        rows: (&Row, &Row),
        subject: Subject<'_>,
        held: Option<&Permit>,
        view: View<R>,
    ) -> Observation<R> {
        let read = async {
            let mut entered = self.reader.enter(held).await.map_err(Missed::Unreachable)?;
            let read = self.find(&mut entered, rows, subject, true).await?;
            Ok((view(&read, &self.github.headings), read.revision))
        };
        observed(read.await)
    }

    /// A tracker record.
    pub(super) async fn tracked(&self, subject: Subject<'_>, held: Option<&Permit>) -> Observation<TrackerRecord> {
        let rows = (&rows::RELEASE, &rows::RELEASES);
        let read = async {
            let mut entered = self.reader.enter(held).await.map_err(Missed::Unreachable)?;
            let read = self.find(&mut entered, rows, subject, false).await?;
            self.with_evidence(&mut entered, read, None).await
        };
        observed(read.await)
    }

    /// Reads one issue that is a record of the row's role.
    pub(super) async fn issue(&self, entered: &mut Entered<'_>, row: &Row, id: &str) -> Result<Read, Missed> {
        let request = Some(id).filter(|id| is_id(id)).and_then(|id| self.request(row, &[("id", Fill::Text(id))]));
        let request = request.ok_or(Trouble::NotUnderstood)?;
        match self.reader.get(entered, request, |reply| wire::issue(&reply.body).ok()).await {
            Came::Success(read) if self.is_one(row, &read) => Ok(read),
            // It is a record of another role, or of none.
            Came::Success(_) => Err(Missed::Missing),
            Came::Problem(404 | 410) => Err(self.missing(entered).await),
            Came::Problem(_) => Err(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Err(Missed::Unreachable(failure.why)),
        }
    }

    /// Whether an issue is a record of the row's role: the forms of two roles may have the same headings, and only the label
    /// tells their issues apart. GitHub takes labels that differ in case for one.
    fn is_one(&self, row: &Row, read: &Read) -> bool {
        let worn = |label: &str| read.labels.iter().any(|worn| worn.eq_ignore_ascii_case(label));
        self.github.labels.of(row.system()).is_none_or(worn)
    }

    /// GitHub says 404 to whoever may not look, too, and 410 where a repository has its issues turned off. An issue is missing
    /// where others can be seen.
    async fn missing(&self, entered: &mut Entered<'_>) -> Missed {
        let Some(request) = self.request(&rows::ISSUES, &[]) else { return Trouble::NotUnderstood.into() };
        match self.reader.get(entered, request, |reply| wire::issues(&reply.body).ok()).await {
            Came::Success(_) => Missed::Missing,
            Came::Problem(_) => Trouble::Forbidden.into(),
            Came::Failure(failure) => Missed::Unreachable(failure.why),
        }
    }

    /// Reads one issue by its number, or by the release in its text. `versioned`: the record is of one review version.
    async fn find(
        &self,
        entered: &mut Entered<'_>,
        (by_id, all): (&Row, &Row),
        subject: Subject<'_>,
        versioned: bool,
    ) -> Result<Read, Missed> {
        if let Some(id) = subject.record {
            return self.issue(entered, by_id, id).await;
        }
        let (headings, label) = (&self.github.headings, self.github.labels.of(all.system()).unwrap_or_default());
        let mut found: Vec<Read> = Vec::new();
        for page in 1..=ISSUE_PAGES_MAX {
            let fills = [("label", Fill::Text(label)), ("page", Fill::Number(page))];
            let request = self.request(all, &fills).ok_or(Trouble::NotUnderstood)?;
            let (issues, count) = match self.reader.get(entered, request, |reply| wire::issues(&reply.body).ok()).await
            {
                Came::Success(page) => page,
                // A list is there wherever it may be seen.
                Came::Problem(404 | 410) => return Err(Trouble::Forbidden.into()),
                Came::Problem(_) => return Err(Trouble::NotUnderstood.into()),
                Came::Failure(failure) => return Err(Missed::Unreachable(failure.why)),
            };
            // A page may have fewer than were asked for and not be the last, so only one without any is.
            if count == 0 {
                let others = found.len().saturating_sub(1);
                return match found.pop() {
                    None => Err(Missed::Missing),
                    Some(read) if others == 0 => Ok(read),
                    Some(_) => Err(Missed::Ambiguous(1 + others)),
                };
            }
            found.extend(issues.into_iter().filter(|read| {
                let form = &read.issue.form;
                self.is_one(all, read)
                    && form.value(&headings.release) == subject.release
                    && (!versioned || form.value(&headings.review_version) == subject.review_version)
            }));
        }
        // More than can be looked through: nobody can say that there is one and no other.
        Err(Trouble::NotUnderstood.into())
    }

    /// The tracker record that an issue is, with the evidence links of its text and its comments. `added`: a comment that is known
    /// to be there, whether it is listed already or not.
    pub(super) async fn with_evidence(
        &self,
        entered: &mut Entered<'_>,
        read: Read,
        added: Option<Comment>,
    ) -> Result<(TrackerRecord, Revision), Missed> {
        let mut comments = self.comments(entered, &read).await?;
        comments.extend(added.filter(|added| comments.iter().all(|listed| listed.id != added.id)));
        let mut record = read.issue.tracker(&self.github.headings);
        record.state = self.github.state_of(&read.labels).unwrap_or_default().to_owned();
        record.marking = Marking::NotCarried;
        // Anybody who may write the issue's text may have written a mark there. Ours are in our comments.
        for link in &mut record.evidence {
            link.marking = Marking::Unmarked;
        }
        for Comment { author, mut links, .. } in comments {
            let marked = links.iter().any(|link| link.marking != Marking::Unmarked);
            if marked && !self.is_ours(entered, &author).await? {
                links.iter_mut().for_each(|link: &mut EvidenceLink| link.marking = Marking::Unmarked);
            }
            record.evidence.extend(links);
        }
        let revision = wire::revision(&read.revision, &record.evidence).ok_or(Trouble::NotUnderstood)?;
        Ok((record, revision))
    }

    async fn comments(&self, entered: &mut Entered<'_>, read: &Read) -> Result<Vec<Comment>, Missed> {
        let mut all: Vec<Comment> = Vec::new();
        let told = usize::try_from(read.comments).unwrap_or(usize::MAX);
        for page in 1..=COMMENT_PAGES_MAX {
            if all.len() >= told {
                return Ok(all);
            }
            let fills = [("id", Fill::Text(&read.issue.id)), ("page", Fill::Number(page))];
            let request = self.request(&rows::COMMENTS, &fills).ok_or(Trouble::NotUnderstood)?;
            match self.reader.get(entered, request, |reply| wire::comments(&reply.body).ok()).await {
                // Fewer than were told: GitHub hides those of people it does not trust.
                Came::Success(page) if page.is_empty() => return Ok(all),
                Came::Success(page) => all.extend(page),
                // The issue was there a moment ago.
                Came::Problem(_) => return Err(Trouble::NotUnderstood.into()),
                Came::Failure(failure) => return Err(Missed::Unreachable(failure.why)),
            }
        }
        if all.len() >= told { Ok(all) } else { Err(Trouble::NotUnderstood.into()) }
    }

    /// Whether we wrote a comment. A mark that somebody else wrote, or copied, is no mark.
    async fn is_ours(&self, entered: &mut Entered<'_>, author: &Author) -> Result<bool, Missed> {
        if let Some(tokens) = &self.tokens {
            return Ok(author.app == Some(tokens.app_id()));
        }
        if let Some(user) = self.user.get() {
            return Ok(author.user == Some(*user));
        }
        let request = rows::USER.request(&[]).ok_or(Trouble::NotUnderstood)?;
        match self.reader.get(entered, request, |reply| wire::user(&reply.body).ok()).await {
            Came::Success(user) => Ok(author.user == Some(*self.user.get_or_init(async || user).await)),
            Came::Problem(_) => Err(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Err(Missed::Unreachable(failure.why)),
        }
    }

    /// Whether the repository has the labels by which the role's records, and their states, are known.
    async fn probe_labels(&self, system: System) -> Probe {
        let Some(label) = self.github.labels.of(system) else { return Probe::Ready };
        let what = "is no label of the repository: make it there, and put it on the role's issues";
        let (setting, states) = match system {
            System::Checklist => ("github.labels.checklist", [].as_slice()),
            System::Tracker => ("github.labels.tracker", self.github.states.as_slice()),
            _ => ("github.labels.queue", [].as_slice()),
        };
        let mut missing = vec![(setting, what, label)];
        missing.extend(states.iter().map(|state| {
            ("github.states", "has a label that the repository does not have: make it there", state.label.as_str())
        }));
        for page in 1..=LABEL_PAGES_MAX {
            let request = self.request(&rows::LABELS, &[("page", Fill::Number(page))]);
            let Some(request) = request else { return Probe::Failed(Trouble::NotUnderstood.into()) };
            match self.reader.probe(request, |reply| wire::labels(&reply.body).ok()).await {
                Came::Success(names) if names.is_empty() => break,
                Came::Success(names) => {
                    missing.retain(|(_, _, label)| !names.iter().any(|name| name.eq_ignore_ascii_case(label)));
                }
                Came::Problem(_) => return Probe::Failed(Trouble::NotUnderstood.into()),
                Came::Failure(failure) => return Probe::Failed(failure.why),
            }
            if missing.is_empty() {
                break;
            }
        }
        missing.first().map_or(Probe::Ready, |&(setting, what, _)| Probe::Unfit { setting, what })
    }

    /// Whose token it is. As tracker, our comments are told from others' by that.
    async fn probe_user(&self) -> Probe {
        let unknown = self.tokens.is_none() && self.user.get().is_none();
        let Some(request) = rows::USER.request(&[]).filter(|_| unknown) else { return Probe::Ready };
        match self.reader.probe(request, |reply| wire::user(&reply.body).ok()).await {
            Came::Success(user) => {
                self.user.get_or_init(async || user).await;
                Probe::Ready
            }
            Came::Failure(failure) if matches!(failure.fate, Fate::Said(403, true)) => Probe::Unfit {
                setting: "github.tokenSecretRef",
                what: "is of no user, so that our comments could not be told from others': for an App give github.app instead",
            },
            Came::Problem(_) => Probe::Failed(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Probe::Failed(failure.why),
        }
    }

    /// What does not fit of a repository as it is told.
    fn misfit(&self, written: bool, repository: &wire::Repository) -> Option<Probe> {
        let unfit = |setting, what| Some(Probe::Unfit { setting, what });
        let wire::Repository { archived, disabled, has_issues, permissions } = repository;
        let may_write = permissions.as_ref().is_none_or(|may| may.push || may.triage);
        if !has_issues || *disabled {
            return unfit("github.repository", "names a repository without issues: turn them on there");
        }
        if written && *archived {
            return unfit("github.repository", "names an archived repository, in which nothing can be changed");
        }
        match &self.tokens {
            // What such a token may do is told when it is fetched.
            Some(tokens) => tokens.unfit(written),
            None if written && !may_write => unfit(
                "github.tokenSecretRef",
                "is of a user without the role Triage, or a higher one, in the repository",
            ),
            None => None,
        }
    }
}

#[async_trait]
impl Prober for Sources {
    async fn probe(&self, system: System) -> Probe {
        let unfit = |setting, what| Probe::Unfit { setting, what };
        let Some(request) = self.request(&rows::REPOSITORY, &[]) else {
            return unfit("github.repository", "must be an owner, a slash and a name");
        };
        let written = system != System::Governance;
        match self.reader.probe(request, |reply| wire::repository(&reply.body).ok()).await {
            Came::Success(repository) => {
                if let Some(misfit) = self.misfit(written, &repository) {
                    return misfit;
                }
            }
            Came::Problem(404) => {
                return unfit(
                    "github.repository",
                    "names no repository that the token may see: correct it, or give the token's user or App access",
                );
            }
            Came::Problem(_) => return Probe::Failed(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => {
                let moved = failure.has_moved();
                let refused = self.tokens.as_ref().filter(|_| failure.why.trouble == Trouble::Unauthorized);
                return match refused.and_then(|tokens| tokens.unfit(written)) {
                    _ if moved => {
                        unfit("github.repository", "names a repository that has moved: set it to where it is now")
                    }
                    Some(misfit) => misfit,
                    None => Probe::Failed(failure.why),
                };
            }
        }
        match self.probe_labels(system).await {
            Probe::Ready if system == System::Tracker => self.probe_user().await,
            found => found,
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        if matches!(system, System::Archive | System::Intake) {
            return None;
        }
        let written = system != System::Governance;
        Some(Abilities {
            concurrency: written.then_some(Concurrency::ReadVerifyWrite),
            // Between our look and our change nothing is guarded, whatever it is: that is no list of fields.
            unguarded: &[],
            marker: written.then_some(false),
            // Records carry no mark.
            carries: if written { Abilities::fields_but_the_last(system) } else { Abilities::all_fields(system) },
            ..Abilities::NONE
        })
    }
}
