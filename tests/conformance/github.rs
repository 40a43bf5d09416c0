//! GitHub: issues of a repository, made as its issue forms make them. Its own description stands in front of an emulation that
//! keeps state; what the emulation cannot do, and the fault proxy plays here, is said in `tests/systems/github/README.md`.

use crate::conformance::cases::{Play, ensure, untouched};
use crate::conformance::cell::{Cell, Outcome, Saw, Verdict, Wrote};
use crate::conformance::front::Front;
use crate::conformance::people::another_role;
use crate::conformance::subject::{Adapter, Deed, IN_ISSUES, Made, Part, Place, Release, Server, Truth};
use crate::fault_proxy::Answer;
use crate::systems::github::{APP, GitHub, OWNER, OWNER_TOKEN, VISITOR_TOKEN};
use crate::systems::http::Http;
use async_trait::async_trait;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::products;
use releaseclosure::providers::Product;
use releaseclosure::providers::github::allow_list;
use releaseclosure::roles::Probe;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// What people write into a text.
const WORDS: &str = "\r\n\r\nLooked at twice. — Kim <!-- not a mark -->\r\n";
/// What stands in every text from the beginning, between the things that the forms ask for.
const KEPT: &str = "```\n### Release\n\nnot this one\n```\n\n* a list  \n* with “words”\t\n";
/// More than one page of thirty.
const CROWD: usize = 60;

/// The adapter.
pub struct Hub;

#[async_trait(?Send)]
impl Adapter for Hub {
    fn product(&self) -> &'static str {
        "github"
    }
    fn against(&self) -> &'static str {
        "an emulation of GitHub (emulate 0.12.2), behind GitHub's own description of its API"
    }
    fn sends(&self) -> Vec<String> {
        allow_list().iter().map(|row| row.to_string()).collect()
    }
    fn systems(&self) -> &'static [System] {
        &IN_ISSUES
    }
    fn own_cases(&self) -> &'static [(&'static str, Play)] {
        &[
            ("as a GitHub App", |cell| Box::pin(as_an_app(cell))),
            ("somebody else copies our mark", |cell| Box::pin(copied(cell))),
            ("closed, and not as done", |cell| Box::pin(not_planned(cell))),
            ("more comments than a page has", |cell| Box::pin(many_comments(cell))),
            ("it has the label of another role", |cell| Box::pin(another_role(cell))),
            ("issues are turned off", |cell| Box::pin(no_issues(cell))),
        ]
    }
    async fn start(&self) -> Option<Box<dyn Server>> {
        Some(Box::new(Running(GitHub::start().await?)))
    }
}

struct Running(GitHub);

#[async_trait]
impl Server for Running {
    async fn place(&self, part: Part, number: usize) -> Arc<dyn Place> {
        let (github, name) = (&self.0, format!("shop-{number}"));
        github.admin.post("/user/repos", &json!({"name": name, "auto_init": true})).await.expect(201);
        for label in ["readiness-checklist", "release", "review-queue", "In-Review", "approved", "rejected"] {
            let label = json!({"name": label, "color": "00aabb"});
            github.admin.post(&format!("/repos/{OWNER}/{name}/labels"), &label).await.expect(201);
        }
        let (front, revoked) = (Front::before(&github.url()).await, Arc::new(AtomicBool::new(false)));
        // The emulation lets anybody in.
        let gone = revoked.clone();
        let bad = move |token: &str| gone.load(Ordering::Relaxed) || token.starts_with("Bearer 0000");
        let meets = move |authorization: Option<&str>| authorization.is_none_or(&bad);
        let answer = Answer::status(401).body(r#"{"message":"Bad credentials"}"#);
        front.always(move |asked| meets(asked.headers.get("authorization").and_then(|value| value.to_str().ok())), answer);
        let somebody = github.admin.with("authorization", &format!("Bearer {VISITOR_TOKEN}"));
        let key = std::fs::read_to_string(&github.app_key).expect("the App's key");
        Arc::new(Repository { front, owner: github.admin.clone(), somebody, name, part, revoked, key, app: AtomicBool::new(false), edits: AtomicUsize::new(0) })
    }
}

struct Repository {
    front: Front,
    /// As the token's own user.
    owner: Http,
    /// As another one.
    somebody: Http,
    name: String,
    part: Part,
    revoked: Arc<AtomicBool>,
    /// The App's.
    key: String,
    /// Whether the connection is the App's.
    app: AtomicBool,
    /// How often somebody wrote words.
    edits: AtomicUsize,
}

impl Repository {
    fn path(&self, below: &str) -> String {
        format!("/repos/{OWNER}/{}{below}", self.name)
    }

    /// Somebody else's request, below the repository.
    async fn somebody(&self, method: &str, below: &str, body: Value) -> Value {
        let reply = self.somebody.json(method, &self.path(below), &body).await;
        assert!((200..300).contains(&reply.status), "{method} {below}: {} {}", reply.status, reply.text);
        if reply.text.is_empty() { Value::Null } else { reply.json() }
    }

    /// What is there, as its owner sees it.
    async fn see(&self, below: &str) -> Value {
        self.owner.get(&self.path(below)).await.expect(200)
    }

    fn text(&self, release: &Release) -> String {
        let Release { id, service, version, review_version, digest, .. } = release;
        let of = format!("### Release\n\n{id}\n\n### Service\n\n{service}\n\n### Version\n\n{version}\n\n");
        match self.part.system {
            System::Governance => format!(
                "{of}### Review version\n\n{review_version}\n\n### Evidence bundle\n\n{}\n\n### Evidence digest\n\n{digest}\n\n\
                 ### Accepted event\n\nevt-1\n\n### Decision\n\nAccepted\n\n### Remarks\n\n{KEPT}",
                release.bundle()
            ),
            System::Tracker => format!("{of}### Evidence\n\n_No response_\n\n### Remarks\n\n{KEPT}"),
            _ => format!(
                "### Release\n\n{id}\n\n### Review version\n\n{review_version}\n\n### Ready\n\n- [x] Rollback rehearsed\n- [X] Signed\n\n\
                 ### Remarks\n\n{KEPT}"
            ),
        }
    }

    fn labels(&self) -> Value {
        match (self.part.system, self.part.step) {
            (System::Checklist, _) => json!(["readiness-checklist"]),
            (System::Tracker, Some(Step::AttachEvidence)) => json!(["release", "In-Review", "approved", "theirs"]),
            (System::Tracker, _) => json!(["release", "In-Review", "theirs"]),
            _ => json!(["review-queue"]),
        }
    }

    async fn issue(&self, title: &str, text: &str, milestone: Option<u64>) -> String {
        let issue = json!({"title": title, "body": text, "milestone": milestone, "labels": self.labels()});
        self.somebody("POST", "/issues", issue).await["number"].to_string()
    }

    fn link(&self, release: &Release) -> String {
        format!("- [{}](<https://archive.example.com/{}>) `{}`", release.bundle(), release.bundle(), release.digest)
    }
}

#[async_trait]
impl Place for Repository {
    fn front(&self) -> &Front {
        &self.front
    }
    fn product(&self) -> Product {
        let mut settings = json!({"endpoint": self.front.url(), "repository": format!("{OWNER}/{}", self.name)});
        let secret = json!({"name": "x", "key": "token"});
        if self.app.load(Ordering::Relaxed) {
            settings["app"] = json!({"appId": APP.0, "installationId": APP.1, "privateKeySecretRef": secret});
        } else {
            settings["tokenSecretRef"] = secret;
        }
        let github: products::GitHub = serde_json::from_value(settings).expect("good settings");
        Product::GitHub(Box::new(github))
    }
    fn token(&self) -> String {
        if self.app.load(Ordering::Relaxed) { self.key.clone() } else { OWNER_TOKEN.to_owned() }
    }
    fn is_marked(&self) -> bool {
        self.part.step == Some(Step::AttachEvidence)
    }
    // A comment more.
    fn adds(&self) -> bool {
        self.part.step == Some(Step::AttachEvidence)
    }

    async fn make(&self, release: &Release) -> Made {
        let milestone = self.somebody("POST", "/milestones", json!({"title": release.milestone})).await["number"].as_u64();
        let id = self.issue("Release", &self.text(release), milestone).await;
        Made { id, milestone: milestone.map(|number| number.to_string()) }
    }

    async fn truth(&self, release: &Release, made: &Made) -> Truth {
        let path = format!("/issues/{}", made.id);
        let issue = self.see(&path).await;
        let mut comments = self.see(&format!("{path}/comments?per_page=100")).await;
        let more = self.see(&format!("{path}/comments?per_page=100&page=2")).await;
        comments.as_array_mut().into_iter().for_each(|all| all.extend(more.as_array().into_iter().flatten().cloned()));
        let events = self.see(&format!("{path}/events?per_page=100")).await;
        let said: Vec<&str> = comments.as_array().into_iter().flatten().filter_map(|said| said["body"].as_str()).collect();
        let ours = |event: &str| {
            let all = events.as_array().into_iter().flatten();
            all.filter(|seen| seen["event"] == event && seen["actor"]["login"] == OWNER).count()
        };
        let worn: Vec<&str> =
            issue["labels"].as_array().into_iter().flatten().filter_map(|label| label["name"].as_str()).collect();
        let link = self.link(release);
        let (done, marks) = match self.part.step {
            Some(Step::ApproveTracker) => (worn.contains(&"approved"), ours("labeled")),
            Some(Step::AttachEvidence) => {
                let marks = said.iter().map(|said| said.matches("<!-- releaseclosure:AttachEvidence ").count()).sum();
                (said.iter().any(|said| said.contains(&link)), marks)
            }
            _ => (issue["state"] == "closed", ours("closed")),
        };
        // To the letter: nothing of ours ever goes into it.
        let text = issue["body"].as_str().unwrap_or_default();
        let added = WORDS.repeat(self.edits.load(Ordering::Relaxed));
        let words = text == format!("{}{added}", self.text(release));
        let theirs = self.labels();
        let kept = theirs.as_array().into_iter().flatten().all(|label| worn.contains(&label.as_str().unwrap_or_default()));
        Truth { done, marks, words: words && kept }
    }

    async fn person(&self, release: &Release, made: &Made, deed: Deed) -> Result<(), &'static str> {
        let issue = format!("/issues/{}", made.id);
        match deed {
            Deed::Edit => {
                let text = self.see(&issue).await["body"].as_str().unwrap_or_default().to_owned();
                self.somebody("PATCH", &issue, json!({"title": "Edited", "body": format!("{text}{WORDS}")})).await;
                self.edits.fetch_add(1, Ordering::Relaxed);
            }
            Deed::DoIt => match self.part.step {
                Some(Step::ApproveTracker) => {
                    self.somebody("POST", &format!("{issue}/labels"), json!({"labels": ["approved"]})).await;
                }
                Some(Step::AttachEvidence) => {
                    self.somebody("POST", &format!("{issue}/comments"), json!({"body": self.link(release)})).await;
                }
                _ => {
                    self.somebody("PATCH", &issue, json!({"state": "closed"})).await;
                }
            },
            Deed::Rename if matches!(self.part.system, System::Governance | System::Tracker) => {
                let milestone = made.milestone.as_deref().unwrap_or_default();
                self.somebody("PATCH", &format!("/milestones/{milestone}"), json!({"title": "2026.12"})).await;
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
            Deed::Archive => {
                let reply = self.owner.patch(&self.path(""), &json!({"archived": true})).await;
                reply.expect(200);
            }
            Deed::Lock => {
                self.somebody("PUT", &format!("{issue}/lock"), json!({"lock_reason": "resolved"})).await;
            }
            Deed::Revoke => self.revoked.store(true, Ordering::Relaxed),
            Deed::Own("a copied mark") => {
                let mark = format!("<!-- releaseclosure:AttachEvidence key={}@x@3 uid=u -->", release.id);
                let body = format!("{} {mark}", self.link(release));
                self.somebody("POST", &format!("{issue}/comments"), json!({"body": body})).await;
            }
            Deed::Own("not planned") => {
                self.somebody("PATCH", &issue, json!({"state": "closed", "state_reason": "not_planned"})).await;
            }
            Deed::Own("another role's label") => {
                let label = self.labels()[0].as_str().unwrap_or_default().to_owned();
                self.somebody("DELETE", &format!("{issue}/labels/{label}"), Value::Null).await;
            }
            Deed::Own("a hundred words") => {
                for number in 0..100 {
                    self.somebody("POST", &format!("{issue}/comments"), json!({"body": format!("word {number}")})).await;
                }
            }
            Deed::Own("no issues") => {
                self.owner.patch(&self.path(""), &json!({"has_issues": false})).await.expect(200);
            }
            Deed::Own("the App") => self.app.store(true, Ordering::Relaxed),
            Deed::Own(other) => panic!("{other} is nothing that anybody does here"),
            // The emulation removes no issue. This is what GitHub says of one that was.
            Deed::Remove => {
                let (path, gone) = (self.path(&issue), Answer::status(410).body(r#"{"message":"This issue was deleted"}"#));
                self.front.always(move |asked| asked.path == path, gone);
            }
            Deed::Move => return Err("the emulation leads nobody on; the proxy does"),
            Deed::WithdrawWriting | Deed::WithdrawReading => return Err("the emulation lets anybody in; the proxy does not"),
        }
        Ok(())
    }

    fn not_allowed(&self) -> Vec<String> {
        self.front.not_on(allow_list(), "")
    }
}

/// The same with tokens that are fetched. The emulation does not say which App wrote a comment, so that marks are not looked at.
async fn as_an_app(cell: &mut Cell) -> Outcome {
    cell.person(Deed::Own("the App")).await?;
    cell.again(&cell.place.token(), Duration::from_secs(60))?;
    let probe = cell.probe().await;
    ensure!(probe == Probe::Ready, probe);
    let look = cell.must_read().await?;
    cell.agrees(&look)?;
    if cell.writes() {
        let wrote = cell.write(cell.order(&look)?).await;
        ensure!(matches!(&wrote, Wrote::Answered(look) if look.done), wrote);
        let truth = cell.truth().await;
        ensure!(truth.done && truth.words, truth);
    }
    // One token for all of it; it is fetched, not kept in any setting.
    let fetched = cell.front().changes() - usize::from(cell.writes());
    ensure!(fetched == 1, fetched);
    Ok(Verdict::Passes)
}

async fn copied(cell: &mut Cell) -> Outcome {
    if cell.part.step != Some(Step::AttachEvidence) {
        return Ok(Verdict::NoSuchThing("there are no marks".to_owned()));
    }
    cell.person(Deed::Own("a copied mark")).await?;
    let look = cell.must_read().await?;
    let nobodys = releaseclosure::closure::snapshot::Marking::Unmarked;
    ensure!(look.done && look.marking == nobodys, look);
    Ok(Verdict::Passes)
}

/// What was given up is not done.
async fn not_planned(cell: &mut Cell) -> Outcome {
    if !matches!(cell.part.system, System::Checklist | System::Queue) {
        return Ok(Verdict::NoSuchThing("nothing is closed".to_owned()));
    }
    cell.person(Deed::Own("not planned")).await?;
    let look = cell.must_read().await?;
    let order = cell.order(&look);
    ensure!(!look.done && cell.agrees(&look).is_err() && order.is_err(), look, order);
    Ok(Verdict::Passes)
}

async fn many_comments(cell: &mut Cell) -> Outcome {
    if cell.part.step != Some(Step::AttachEvidence) {
        return Ok(Verdict::NoSuchThing("its comments are not read, or bear nothing of ours".to_owned()));
    }
    cell.person(Deed::Own("a hundred words")).await?;
    crate::conformance::cases::finish(cell).await?;
    let marked = cell.must_read().await?;
    ensure!(marked.done && cell.is_ours(&marked.marking), marked);
    Ok(Verdict::Passes)
}

/// What cannot be seen is not missing.
async fn no_issues(cell: &mut Cell) -> Outcome {
    let truth = cell.truth().await;
    cell.person(Deed::Own("no issues")).await?;
    let (read, probe) = (cell.read().await, cell.probe().await);
    let forbidden = releaseclosure::closure::snapshot::Trouble::Forbidden;
    let told = matches!(&read, Saw::Unreachable(why) if why.trouble == forbidden);
    ensure!(told, read);
    ensure!(matches!(probe, Probe::Unfit { setting: "github.repository", .. }), probe);
    ensure!(untouched(&truth), truth);
    Ok(Verdict::Passes)
}
