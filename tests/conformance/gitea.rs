//! Gitea: issues of a repository, made as its issue forms make them.

use super::gitea_forms::Browser;
use crate::conformance::cases::{Play, UNWRITTEN, ensure, finish, nothing, untouched};
use crate::conformance::cell::{Cell, Outcome, Saw, Verdict, Wrote};
use crate::conformance::front::{Front, On};
use crate::conformance::people::another_role;
use crate::conformance::subject::{Adapter, Deed, IN_ISSUES, Made, Part, Place, Release, Server, Truth};
use crate::systems::gitea::{ADMIN, Gitea, PASSWORD};
use crate::systems::http::Http;
use async_trait::async_trait;
use base64::Engine as _;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::closure::snapshot::Trouble;
use releaseclosure::products;
use releaseclosure::providers::Product;
use releaseclosure::providers::gitea::allow_list;
use releaseclosure::roles::Probe;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What people write into a text.
const WORDS: &str = "\r\n\r\nLooked at twice. — Kim <!-- not a mark -->\r\n";
/// What stands in every text from the beginning, between the things that the forms ask for.
const KEPT: &str = "```\n### Release\n\nnot this one\n```\n\n* a list  \n* with “words”\t\n";
/// More than one page, whatever the server's pages are.
const CROWD: usize = 60;

/// The adapter.
pub struct Issues;

#[async_trait(?Send)]
impl Adapter for Issues {
    fn product(&self) -> &'static str {
        "gitea"
    }
    fn against(&self) -> &'static str {
        "Gitea 1.26.0"
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    fn systems(&self) -> &'static [System] {
        &IN_ISSUES
    }
    fn own_cases(&self) -> &'static [(&'static str, Play)] {
        &[
            ("costs what the documentation says", |cell| Box::pin(costs(cell))),
            ("an open issue forbids to close it", |cell| Box::pin(dependency(cell))),
            ("issues are turned off", |cell| Box::pin(no_issues(cell))),
            ("the label is no longer there", |cell| Box::pin(no_label(cell))),
            ("it has the label of another role", |cell| Box::pin(another_role(cell))),
            ("the server has no content_version", |cell| Box::pin(no_version(cell))),
            ("a token without the scope to write", |cell| Box::pin(no_scope(cell))),
            ("an issue is made between two pages", |cell| Box::pin(between_pages(cell))),
            ("a value stands there twice", |cell| Box::pin(twice(cell))),
            ("the text has Windows' line ends", |cell| Box::pin(line_ends(cell))),
        ]
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Running(Gitea::start().await?)))
    }
}

pub struct Running(pub Gitea);

/// A repository of its own, private, and somebody who may write its issues.
impl Running {
    /// A private repository of its own, and somebody who may do there what the part needs.
    pub async fn repository(&self, part: Part, number: usize) -> Repository {
        let (gitea, name, person) = (&self.0, format!("shop-{number}"), format!("bot-{number}"));
        let repository = gitea.repository(&name).await;
        let writes = part.step.is_some();
        let scopes = [if writes { "write:issue" } else { "read:issue" }, "read:repository"];
        let token = gitea.person(&person, &scopes).await;
        let front = Front::before(&gitea.url()).await;
        let (admin, path, token) = (gitea.admin.clone(), repository.path, Mutex::new(token));
        let (kept, edits) = (KEPT, AtomicUsize::new(0));
        let place = Repository { front, admin, path, name, person, token, part, forms: None, kept, edits };
        // Private first: readers of a public repository that is made private are not let in any more.
        place.admin("PATCH", "", json!({"private": true})).await;
        let permission = json!({"permission": if writes { "write" } else { "read" }});
        place.admin("PUT", &format!("collaborators/{}", place.person), permission).await;
        place.admin("POST", "labels", json!({"name": place.label(), "color": "#00aabb"})).await;
        place
    }
}

#[async_trait]
impl Server for Running {
    async fn place(&self, part: Part, number: usize) -> Arc<dyn Place> {
        Arc::new(self.repository(part, number).await)
    }
}

/// One repository.
pub struct Repository {
    front: Front,
    admin: Http,
    path: String,
    /// Its name.
    pub name: String,
    person: String,
    token: Mutex<String>,
    /// What it is for.
    pub part: Part,
    /// The browser in which forms are filled in, where they are.
    pub forms: Option<Browser>,
    /// What stands in the text from the beginning and must stay.
    pub kept: &'static str,
    /// How often somebody wrote words.
    pub edits: AtomicUsize,
}

impl Repository {
    /// Somebody else's request, below the repository.
    pub async fn admin(&self, method: &str, below: &str, body: Value) -> Value {
        let path = format!("{}/{below}", self.path);
        let reply = self.admin.json(method, path.trim_end_matches('/'), &body).await;
        assert!((200..300).contains(&reply.status), "{method} {below}: {} {}", reply.status, reply.text);
        reply.json()
    }

    /// The person, who logs in, and where their tokens are.
    fn logged_in(&self) -> (Http, String) {
        let login = base64::engine::general_purpose::STANDARD.encode(format!("{}:{PASSWORD}", self.person));
        let person = self.admin.with("authorization", &format!("Basic {login}"));
        (person, format!("/api/v1/users/{}/tokens", self.person))
    }

    fn label(&self) -> &'static str {
        match self.part.system {
            System::Checklist => "readiness-checklist",
            System::Tracker => "release",
            _ => "review-queue",
        }
    }

    /// An issue's text, as the forms of `docs/adapters/gitea.md` leave it behind.
    fn text(&self, release: &Release) -> String {
        let Release { id, service, version, review_version, digest, .. } = release;
        let of = format!("### Release\n\n{id}\n\n### Service\n\n{service}\n\n### Version\n\n{version}\n\n");
        match self.part.system {
            System::Governance => format!(
                "{of}### Review version\n\n{review_version}\n\n### Evidence bundle\n\n{}\n\n### Evidence digest\n\n{digest}\n\n\
                 ### Accepted event\n\nevt-1\n\n### Decision\n\nAccepted\n\n### Remarks\n\n{KEPT}",
                release.bundle()
            ),
            System::Tracker => {
                let approved = self.part.step == Some(Step::AttachEvidence);
                let status = if approved { "Approved" } else { "In review" };
                format!("{of}### Status\n\n{status}\n\n### Evidence\n\n_No response_\n\n### Remarks\n\n{KEPT}")
            }
            _ => format!(
                "### Release\n\n{id}\n\n### Review version\n\n{review_version}\n\n### Ready\n\n- [x] Rollback rehearsed\n- [X] Signed\n\n\
                 ### Remarks\n\n{KEPT}"
            ),
        }
    }

    async fn issue(&self, title: &str, text: &str, milestone: Option<i64>) -> String {
        let labels = self.admin.get(&format!("{}/labels", self.path)).await.json();
        let made = self
            .admin("POST", "issues", json!({"title": title, "body": text, "milestone": milestone, "labels": [labels[0]["id"]]}))
            .await;
        made["number"].to_string()
    }
}

#[async_trait]
impl Place for Repository {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let (endpoint, repository) = (self.front.url(), format!("{ADMIN}/{}", self.name));
        let settings = json!({"endpoint": endpoint, "repository": repository, "tokenSecretRef": {"name": "x", "key": "token"}});
        let gitea: products::Gitea = serde_json::from_value(settings).expect("good settings");
        Product::Gitea(Box::new(gitea))
    }
    fn token(&self) -> String {
        self.token.lock().expect("whole").clone()
    }

    fn words(&self) -> (&'static str, &'static str) {
        ("In review", "Approved")
    }

    async fn make(&self, release: &Release) -> Made {
        let milestone = self.admin("POST", "milestones", json!({"title": release.milestone})).await["id"].as_i64();
        let id = match &self.forms {
            Some(browser) => browser.fill_in(self, release, milestone).await,
            None => self.issue("Release", &self.text(release), milestone).await,
        };
        Made { id, milestone: milestone.map(|id| id.to_string()) }
    }

    async fn truth(&self, release: &Release, made: &Made) -> Truth {
        let issue = self.admin("GET", &format!("issues/{}", made.id), Value::Null).await;
        let whole = issue["body"].as_str().unwrap_or_default();
        // Where the line ends are others, all that people wrote still has them.
        let other_ends = whole.contains(&self.kept.trim_end().replace('\n', "\r\n"));
        let unified = whole.replace("\r\n", "\n");
        let text = if other_ends { unified.as_str() } else { whole };
        let step = self.part.step.map(Step::as_str).unwrap_or_default();
        let marks = text.matches(&format!("<!-- releaseclosure:{step} ")).count();
        let link = format!("](<https://archive.example.com/{}>)", release.bundle());
        let done = match self.part.step {
            Some(Step::ApproveTracker) => text.contains("### Status\n\nApproved\n"),
            Some(Step::AttachEvidence) => text.contains(&link),
            _ => issue["state"] == "closed",
        };
        // All the words of the beginning, and whatever somebody has added to them, as often as they did.
        let added = text.matches(WORDS.trim()).count() == self.edits.load(Ordering::Relaxed);
        Truth { done, marks, words: text.contains(self.kept.trim_end()) && added }
    }

    async fn person(&self, release: &Release, made: &Made, deed: Deed) -> Result<(), &'static str> {
        let issue = format!("issues/{}", made.id);
        let now = || self.admin("GET", &issue, Value::Null);
        match deed {
            Deed::Edit => {
                let text = now().await["body"].as_str().unwrap_or_default().to_owned();
                self.admin("PATCH", &issue, json!({"title": "Edited", "body": format!("{text}{WORDS}")})).await;
                self.edits.fetch_add(1, Ordering::Relaxed);
            }
            Deed::DoIt => {
                let text = now().await["body"].as_str().unwrap_or_default().to_owned();
                let link = format!("- [{}](<https://archive.example.com/{}>) `{}`", release.bundle(), release.bundle(), release.digest);
                let change = match self.part.step {
                    Some(Step::ApproveTracker) => json!({"body": text.replace("\nIn review\n", "\nApproved\n")}),
                    Some(Step::AttachEvidence) => json!({"body": text.replace("_No response_", &link)}),
                    _ => json!({"state": "closed"}),
                };
                self.admin("PATCH", &issue, change).await;
            }
            Deed::Rename if matches!(self.part.system, System::Governance | System::Tracker) => {
                let milestone = made.milestone.as_deref().unwrap_or_default();
                self.admin("PATCH", &format!("milestones/{milestone}"), json!({"title": "2026.12"})).await;
            }
            Deed::Rename => return Err("the record has no milestone"),
            Deed::Duplicate | Deed::Crowd if self.part.step.is_none() => return Err("the record is always named"),
            Deed::Duplicate => {
                self.issue("Twin", &self.text(release), None).await;
            }
            Deed::Crowd => {
                for number in 0..CROWD {
                    let other = Release { id: format!("r-{number}"), ..release.clone() };
                    self.issue("Another", &self.text(&other), None).await;
                }
            }
            // With the first one the last of a page of fifty.
            Deed::Own("forty-nine others") => {
                for _ in 0..49 {
                    self.issue("Another", "### Release\n\nr-0", None).await;
                }
            }
            Deed::Own("another") => {
                self.issue("Another", "### Release\n\nr-0", None).await;
            }
            Deed::Own("a dependency") => {
                let other = self.issue("Not done yet", "", None).await;
                let other = json!({"owner": ADMIN, "repo": self.name, "index": other.parse::<u64>().unwrap_or(0)});
                self.admin("POST", &format!("{issue}/dependencies"), other).await;
            }
            Deed::Own("the dependency is closed") => {
                self.admin("PATCH", "issues/2", json!({"state": "closed"})).await;
            }
            Deed::Own("no issues") => {
                self.admin("PATCH", "", json!({"has_issues": false})).await;
            }
            Deed::Own("no label") => {
                let labels = self.admin("GET", "labels", Value::Null).await;
                self.admin("DELETE", &format!("labels/{}", labels[0]["id"]), Value::Null).await;
            }
            Deed::Own("another role's label") => {
                let other = self.admin("POST", "labels", json!({"name": "another", "color": "#00aabb"})).await;
                self.admin("PUT", &format!("{issue}/labels"), json!({"labels": [other["id"]]})).await;
            }
            Deed::Own("a token that only reads") => {
                let (person, tokens) = self.logged_in();
                let token = json!({"name": "reads", "scopes": ["read:issue", "read:repository"]});
                let made = person.json("POST", &tokens, &token).await.expect(201);
                *self.token.lock().expect("whole") = made["sha1"].as_str().expect("a token").to_owned();
            }
            Deed::Own("another release below the first") => {
                let text = now().await["body"].as_str().unwrap_or_default().to_owned();
                self.admin("PATCH", &issue, json!({"body": format!("{text}\n### Release\n\nr-other\n")})).await;
            }
            Deed::Own("line ends") => {
                let text = now().await["body"].as_str().unwrap_or_default().replace('\n', "\r\n");
                self.admin("PATCH", &issue, json!({"body": text})).await;
            }
            Deed::Own(other) => panic!("{other} is nothing that anybody does here"),
            Deed::Remove => {
                self.admin("DELETE", &issue, Value::Null).await;
            }
            Deed::Move => {
                self.admin("PATCH", "", json!({"name": format!("{}-elsewhere", self.name)})).await;
            }
            Deed::Archive => {
                self.admin("PATCH", "", json!({"archived": true})).await;
            }
            Deed::Lock => {
                self.admin("PUT", &format!("{issue}/lock"), json!({"lock_reason": "Resolved"})).await;
            }
            Deed::WithdrawWriting => {
                let member = format!("collaborators/{}", self.person);
                self.admin("PUT", &member, json!({"permission": "read"})).await;
            }
            Deed::WithdrawReading => {
                self.admin("DELETE", &format!("collaborators/{}", self.person), Value::Null).await;
            }
            Deed::Revoke => {
                let (person, tokens) = self.logged_in();
                let id = person.get(&tokens).await.expect(200)[0]["id"].to_string();
                person.send("DELETE", &format!("{tokens}/{id}"), "").await.expect(204);
            }
        }
        Ok(())
    }

    fn not_allowed(&self) -> Vec<String> {
        self.front.not_on(allow_list(), "")
    }
}

/// Gitea changes the text before it finds that it does not close the issue; so nothing is sent that it would half do.
async fn dependency(cell: &mut Cell) -> Outcome {
    if !matches!(cell.part.system, System::Checklist | System::Queue) {
        return nothing("nothing is closed");
    }
    let look = cell.must_read().await?;
    cell.person(Deed::Own("a dependency")).await?;
    let wrote = cell.write(cell.order(&look)?).await;
    let truth = cell.truth().await;
    ensure!(wrote == Wrote::Refused && untouched(&truth), wrote, truth);
    cell.person(Deed::Own("the dependency is closed")).await?;
    finish(cell).await?;
    Ok(Verdict::Passes)
}

/// Where there are no issues, none is missing.
async fn no_issues(cell: &mut Cell) -> Outcome {
    cell.person(Deed::Own("no issues")).await?;
    let (found, probe) = (cell.find().await, cell.probe().await);
    ensure!(matches!(found, Saw::Unreachable(_)), found);
    ensure!(matches!(probe, Probe::Unfit { setting: "gitea.repository", .. }), probe);
    Ok(Verdict::Passes)
}

/// Gitea ignores a label that it does not know, and lists everything.
async fn no_label(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing("the record is always named");
    }
    cell.person(Deed::Own("no label")).await?;
    let (found, probe) = (cell.find().await, cell.probe().await);
    ensure!(found == Saw::Missing, found);
    ensure!(matches!(probe, Probe::Unfit { setting, .. } if setting.starts_with("gitea.labels.")), probe);
    Ok(Verdict::Passes)
}

/// As a Gitea before 1.26 answers, and a Forgejo that does not have it.
async fn no_version(cell: &mut Cell) -> Outcome {
    cell.front().rewrite(|body| body.replace("\"content_version\":", "\"no_such_thing\":"));
    let (read, probe) = (cell.read().await, cell.probe().await);
    ensure!(matches!(read, Saw::Unreachable(_)), read);
    ensure!(matches!(probe, Probe::Unfit { setting: "gitea.endpoint", .. }), probe);
    Ok(Verdict::Passes)
}

/// Gitea tells nobody what a token's scopes are; it is the first change that shows it.
async fn no_scope(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing(UNWRITTEN);
    }
    let look = cell.must_read().await?;
    cell.person(Deed::Own("a token that only reads")).await?;
    cell.again(&cell.place.token(), Duration::from_secs(60))?;
    let probe = cell.probe().await;
    ensure!(probe == Probe::Ready, probe);
    let (wrote, probe) = (cell.write(cell.order(&look)?).await, cell.probe().await);
    let truth = cell.truth().await;
    ensure!(matches!(&wrote, Wrote::NotApplied(why) if why.trouble == Trouble::Forbidden) && untouched(&truth), wrote, truth);
    ensure!(matches!(probe, Probe::Unfit { setting: "gitea.tokenSecretRef", .. }), probe);
    Ok(Verdict::Passes)
}

/// The issue that was the last of the first page is the first of the second one, too.
async fn between_pages(cell: &mut Cell) -> Outcome {
    if !cell.writes() {
        return nothing("the record is always named");
    }
    cell.person(Deed::Own("forty-nine others")).await?;
    cell.person_when(On::Path("page=2"), Deed::Own("another"));
    let (found, read) = (cell.find().await, cell.read().await);
    ensure!(matches!(found, Saw::Found(_)) && found == read, found, read);
    Ok(Verdict::Passes)
}

/// Neither of two values is the one.
async fn twice(cell: &mut Cell) -> Outcome {
    cell.person(Deed::Own("another release below the first")).await?;
    let look = cell.must_read().await?;
    ensure!(cell.agrees(&look).is_err(), look);
    if cell.writes() {
        let (found, order) = (cell.find().await, cell.order(&look));
        ensure!(found == Saw::Missing && order.is_err(), found, order);
    }
    Ok(Verdict::Passes)
}

async fn line_ends(cell: &mut Cell) -> Outcome {
    cell.person(Deed::Own("line ends")).await?;
    let look = cell.must_read().await?;
    cell.agrees(&look)?;
    if cell.writes() {
        finish(cell).await?;
    }
    Ok(Verdict::Passes)
}

/// The figures of `docs/adapters/gitea.md`, counted.
async fn costs(cell: &mut Cell) -> Outcome {
    let mut before = 0;
    let mut cost = |cell: &Cell| {
        let requests = cell.front().requests();
        requests - std::mem::replace(&mut before, requests)
    };
    let look = cell.must_read().await?;
    ensure!(cost(cell) == 1, "a read by number");
    cell.look(Some("999999")).await;
    ensure!(cost(cell) == 2, "a read of none");
    cell.probe().await;
    ensure!(cost(cell) == if cell.writes() { 3 } else { 2 }, "a probe");
    if cell.writes() {
        cell.find().await;
        ensure!(cost(cell) == 2, "a look-up with one page");
        cell.write(cell.order(&look)?).await;
        let closes = matches!(cell.part.system, System::Checklist | System::Queue);
        ensure!(cost(cell) == if closes { 3 } else { 2 }, "a change");
    }
    Ok(Verdict::Passes)
}
