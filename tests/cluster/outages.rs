//! A system that is away: the closure waits, says for what, writes its status once, and closes by itself when the system is
//! back. It never halts for that.

use crate::stage::{Setup, Stage, condition, outcomes, ready};
use crate::witness::History;
use releaseclosure::api::{ReleaseClosure, ReleaseClosureStatus};
use releaseclosure::closure::ledger::Outcome;
use releaseclosure::sandbox::{self, Role};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The ways in which a system is away that a reply, or none, can tell.
fn ways() -> [Value; 4] {
    [
        json!("dropBefore"),
        json!({"dropBefore": {"reset": true}}),
        json!({"status": {"code": 503}}),
        json!({"status": {"code": 500, "problem": false}}),
    ]
}

/// Why a closure waits for a system that is away.
fn unavailable(role: Role) -> String {
    let name = role.name();
    format!("{}{}Unavailable", name[..1].to_uppercase(), &name[1..])
}

/// Sees to it that a closure waits for this system and says so, tries again and again, and writes nothing meanwhile.
async fn waits_quietly(stage: &Stage, name: &str, role: Role, fault: &str) -> ReleaseClosure {
    let waiting = stage.waiting(name, &unavailable(role)).await;
    assert_eq!(ready(&waiting), ("False".to_owned(), "ProgressingWithRetry".to_owned()));
    assert!(condition(&waiting, "Stalled").is_none());
    let retry = waiting.status.as_ref().unwrap().retry.as_ref().expect("it says what it waits for");
    assert_eq!(retry.waiting_for.iter().map(|system| system.as_str()).collect::<Vec<_>>(), [role.name()]);
    stage.acted(fault, 3).await;
    let later = stage.get(name).await;
    assert_eq!(later.metadata.resource_version, waiting.metadata.resource_version, "{:?}", later.status);
    waiting
}

/// How many statuses of a closure say that it waits for this system.
fn says_so(history: &History, name: &str, role: Role) -> usize {
    let reason = unavailable(role);
    let says = |status: &ReleaseClosureStatus| status.conditions.iter().any(|condition| condition.reason == reason);
    history.statuses(name).iter().filter(|status| says(status)).count()
}

/// Makes these requests fail in one way after the other, and sees each time what a closure makes of it.
async fn survives(stage: &Stage, history: &History, number: usize, role: Role, matches: &Value, action: &Value) {
    let fault = stage.fault(json!({"match": matches, "action": action}));
    let name = stage.create(&stage.closure(number)).await;
    let waiting = waits_quietly(stage, &name, role, &fault).await;
    let settled = |closure: &ReleaseClosure| {
        closure.status.as_ref().unwrap().steps.iter().filter(|step| step.outcome.is_settled()).count()
    };
    let written: usize = stage.writes().values().sum();
    assert_eq!(settled(&waiting), written, "what is done is said, and nothing else");
    stage.sandbox().remove_fault(&fault);
    let closed = stage.closed(&name).await;
    assert_eq!(outcomes(&closed), ["Changed"; 5], "{matches} {action}");
    assert_eq!(stage.writes().values().sum::<usize>(), 5, "{:?}", stage.writes());
    assert_eq!(says_so(history, &name, role), 1, "one status says that it waits: {matches} {action}");
    stage.sandbox().clear_requests();
}

async fn is_waited_for_from_the_start(role: Role) {
    let seed = sandbox::generate(ways().len());
    let stage = Stage::with(&format!("away-{role}"), Setup { seed, ..Setup::default() }).await;
    let history = stage.history().await;
    for (number, action) in (1..).zip(ways()) {
        survives(&stage, &history, number, role, &json!({"role": role}), &action).await;
    }
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn governance_away_from_the_start_is_waited_for() {
    is_waited_for_from_the_start(Role::Governance).await;
}

#[tokio::test]
async fn an_archive_away_from_the_start_is_waited_for() {
    is_waited_for_from_the_start(Role::Archive).await;
}

#[tokio::test]
async fn a_checklist_system_away_from_the_start_is_waited_for() {
    is_waited_for_from_the_start(Role::Checklist).await;
}

#[tokio::test]
async fn a_tracker_away_from_the_start_is_waited_for() {
    is_waited_for_from_the_start(Role::Tracker).await;
}

#[tokio::test]
async fn a_queue_away_from_the_start_is_waited_for() {
    is_waited_for_from_the_start(Role::Queue).await;
}

#[tokio::test]
async fn an_intake_away_from_the_start_is_waited_for() {
    is_waited_for_from_the_start(Role::Intake).await;
}

#[tokio::test]
async fn a_system_that_goes_away_right_before_its_write_is_waited_for() {
    let writes = [
        (Role::Checklist, json!({"role": "checklist", "method": "PATCH"})),
        (Role::Tracker, json!({"role": "tracker", "method": "PATCH", "field": "state"})),
        (Role::Tracker, json!({"role": "tracker", "method": "PATCH", "field": "evidence"})),
        (Role::Queue, json!({"role": "queue", "method": "PATCH"})),
        (Role::Intake, json!({"role": "intake", "method": "POST"})),
    ];
    let seed = sandbox::generate(writes.len());
    let stage = Stage::with("away-before-write", Setup { seed, ..Setup::default() }).await;
    let history = stage.history().await;
    for ((number, (role, matches)), action) in (1..).zip(writes).zip(ways().into_iter().cycle()) {
        survives(&stage, &history, number, role, &matches, &action).await;
    }
    assert!(stage.all_packets().await.is_empty());
}

#[tokio::test]
async fn a_system_that_goes_away_right_before_a_second_look_is_waited_for() {
    // The first look at the source is the one before everything; the second is before the second step, and so on.
    let looks = [
        (Role::Governance, "RR-load-00001", 2),
        (Role::Governance, "RR-load-00002", 3),
        (Role::Governance, "RR-load-00003", 4),
        (Role::Governance, "RR-load-00004", 5),
        (Role::Archive, "load/00005/rv1", 2),
    ];
    let seed = sandbox::generate(looks.len());
    let stage = Stage::with("away-before-look", Setup { seed, ..Setup::default() }).await;
    let history = stage.history().await;
    for ((number, (role, record, from)), action) in (1..).zip(looks).zip(ways().into_iter().cycle()) {
        let matches = json!({"role": role, "record": record, "from": from});
        survives(&stage, &history, number, role, &matches, &action).await;
    }
    assert!(stage.all_packets().await.is_empty());
}

/// A port before the stage's systems that can be closed and opened.
pub struct Door {
    /// Where it is.
    pub address: SocketAddr,
    open: watch::Sender<bool>,
    closed: watch::Receiver<bool>,
}

impl Door {
    /// An open one.
    pub async fn before(stage: &Stage) -> Door {
        let inside = stage.handle.url().trim_start_matches("http://").to_owned();
        let mut listener = Some(TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.as_ref().unwrap().local_addr().unwrap();
        let (open, mut wanted) = watch::channel(true);
        let (tell, closed) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let door = match listener.take() {
                    Some(door) => door,
                    None => TcpListener::bind(address).await.expect("the port is still ours"),
                };
                tell.send_replace(false);
                let mut guests = tokio::task::JoinSet::new();
                while *wanted.borrow_and_update() {
                    tokio::select! {
                        Ok((mut guest, _)) = door.accept() => {
                            let inside = inside.clone();
                            guests.spawn(async move {
                                let mut inside = TcpStream::connect(inside).await?;
                                tokio::io::copy_bidirectional(&mut guest, &mut inside).await
                            });
                        }
                        changed = wanted.changed() => if changed.is_err() { return },
                    }
                }
                drop(door);
                guests.shutdown().await;
                tell.send_replace(true);
                if wanted.wait_for(|open| *open).await.is_err() {
                    return;
                }
            }
        });
        Door { address, open, closed }
    }

    /// Closes it: connections end, and new ones are refused.
    pub async fn close(&mut self) {
        self.open.send_replace(false);
        self.closed.wait_for(|closed| *closed).await.unwrap();
    }

    /// Opens it again.
    pub async fn open(&mut self) {
        self.open.send_replace(true);
        self.closed.wait_for(|closed| !*closed).await.unwrap();
    }
}

#[tokio::test]
async fn a_system_that_refuses_connections_is_waited_for() {
    let stage = Stage::with("away-refused", Setup { seed: sandbox::generate(2), ..Setup::default() }).await;
    let history = stage.history().await;
    let mut doors = Vec::new();
    for (number, role) in [(1, Role::Tracker), (2, Role::Intake)] {
        let mut door = Door::before(&stage).await;
        let endpoint = format!("http://{}{}", door.address, sandbox::PREFIX);
        stage.patch_connection(role.name(), json!({"http": {"endpoint": endpoint}})).await;
        stage.connection_is(role.name(), "True", "Ready").await;
        door.close().await;
        stage.sandbox().clear_requests();
        let name = stage.create(&stage.closure(number)).await;
        let waiting = stage.waiting(&name, &unavailable(role)).await;
        // Other systems show that it tries again: the look before everything, or the source's before an announcement.
        let start = stage.requests().len();
        let look = json!({"match": {"role": "queue", "record": format!("Q-{number:05}")}, "action": {"delay": {"milliseconds": 0}}});
        let tries = stage.fault(look);
        stage.acted(&tries, 3).await;
        assert!(stage.requests().len() > start);
        let later = stage.get(&name).await;
        assert_eq!(later.metadata.resource_version, waiting.metadata.resource_version, "{:?}", later.status);
        // Nothing went out, and that is known: the intent was taken back.
        let announced = &waiting.status.as_ref().unwrap().steps[4];
        assert_eq!(announced.outcome, Outcome::Pending);
        door.open().await;
        assert_eq!(outcomes(&stage.closed(&name).await), ["Changed"; 5]);
        assert_eq!(says_so(&history, &name, role), 1);
        doors.push(door);
    }
    assert!(stage.all_packets().await.is_empty());
    assert_eq!(stage.sandbox().deliveries().len(), 2);
}

#[tokio::test]
async fn a_mismatch_halts_even_while_another_system_is_away() {
    let stage = Stage::with("away-mismatch", Setup { seed: sandbox::generate(2), ..Setup::default() }).await;
    stage.fault(json!({"match": {"role": "tracker"}, "action": {"status": {"code": 503}}}));
    // One that finds both at once, and one that was waiting already.
    let waiting = stage.create(&stage.closure(1)).await;
    stage.waiting(&waiting, "TrackerUnavailable").await;
    for number in 1..=2 {
        stage.sandbox().edit(Role::Checklist, &format!("CHK-{number:05}"), &json!({"review": {"version": "2"}}));
    }
    let late = stage.create(&stage.closure(2)).await;
    for name in [waiting, late] {
        let (closure, packet) = stage.halted(&name).await;
        assert_eq!(ready(&closure).1, "ChecklistMismatch");
        let fields: Vec<_> = packet.spec.findings.iter().map(|finding| finding.field.as_str()).collect();
        assert_eq!(fields, ["review.version"]);
    }
    assert!(stage.writes().is_empty());
}
