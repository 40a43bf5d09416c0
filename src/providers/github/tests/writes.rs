//! What is sent to change a record, and what becomes of it.

use super::*;

/// An issue with number 5 that changes as GitHub's do, with somebody who gets in between.
struct Hub {
    server: Server,
}

/// The tracker record for this step.
fn tracked(step: Step) -> Value {
    let state = if step == Step::AttachEvidence { "approved" } else { "theirs" };
    with(issue(5), json!({"labels": ["release", "in-review", state]}))
}

impl Hub {
    /// Reads give `before` until something was changed, then `after`; the change gives `act`.
    async fn start(before: Value, act: Act, after: Value, comments: Value) -> Hub {
        let changed = AtomicBool::new(false);
        let server = Server::start(move |_, seen| match asked(seen) {
            ("GET", "/user") => says(200, &json!({"id": BOT, "login": "bot"})),
            ("GET", target) if target.contains("/comments?") => says(200, &comments),
            ("GET", "/repos/acme/shop/issues/5") if changed.load(Ordering::Relaxed) => says(200, &after),
            ("GET", "/repos/acme/shop/issues/5") => says(200, &before),
            ("GET", "/repos/acme/shop/issues?state=all&per_page=1") => says(200, &json!([])),
            ("GET", other) => panic!("{other}"),
            _ => {
                changed.store(true, Ordering::Relaxed);
                act.clone()
            }
        })
        .await;
        Hub { server }
    }

    async fn close(&self) -> WriteReply<ChecklistRecord> {
        let connected = connected(&self.server);
        let seen = Sighting::Checklist(read_checklist(&connected).await);
        let permit = connected.gate.permit().await.unwrap();
        connected.checklist.unwrap().close(order_seen(Step::CloseChecklist, seen), permit).await
    }

    async fn update(&self, step: Step) -> WriteReply<TrackerRecord> {
        let connected = connected(&self.server);
        let seen = Sighting::Tracker(read_tracker(&connected).await);
        let permit = connected.gate.permit().await.unwrap();
        connected.tracker.unwrap().update(order_seen(step, seen), permit).await
    }
}

#[tokio::test]
async fn a_close_is_one_field_and_nothing_else() {
    let closed =
        with(issue(5), json!({"state": "closed", "state_reason": "completed", "updated_at": "2026-11-22T10:00:09Z"}));
    let hub = Hub::start(issue(5), says(200, &closed), closed, json!([])).await;
    let WriteReply::Answered(record, _) = hub.close().await else { panic!() };
    assert!(record.state.is_done() && record.marking == Marking::NotCarried);
    assert_eq!(targets(&hub.server), ["GET /issues/5", "GET /issues/5", "PATCH /issues/5"]);
    let seen = &hub.server.seen()[2];
    assert_eq!(seen.body, r#"{"state":"closed","state_reason":"completed"}"#);
    assert_eq!(seen.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn an_approval_is_one_label_more() {
    let after = with(tracked(Step::AttachEvidence), json!({"updated_at": "2026-11-22T10:00:09Z"}));
    let labels = json!([{"name": "in-review"}, {"name": "Approved"}]);
    let hub = Hub::start(tracked(Step::ApproveTracker), says(200, &labels), after, json!([])).await;
    let WriteReply::Answered(record, _) = hub.update(Step::ApproveTracker).await else { panic!() };
    assert_eq!(record.state, "Approved");
    let expected = ["GET /issues/5", "GET /issues/5", "POST /issues/5/labels", "GET /issues/5"];
    assert_eq!(targets(&hub.server), expected);
    assert_eq!(hub.server.seen()[2].body, r#"{"labels":["approved"]}"#);
}

/// A list of labels without ours is no yes.
#[tokio::test]
async fn an_approval_that_is_not_shown_is_not_known() {
    let hub = Hub::start(tracked(Step::ApproveTracker), says(200, &json!([])), issue(5), json!([])).await;
    let reply = hub.update(Step::ApproveTracker).await;
    assert_eq!(reply, WriteReply::Unknown(Trouble::NotUnderstood.into()));
}

/// The comment that was answered is there, whether it is listed already or not, and is there once.
#[tokio::test]
async fn evidence_is_one_comment_more() {
    for listed in [false, true] {
        let sent = Arc::new(std::sync::Mutex::new(String::new()));
        let kept = sent.clone();
        let server = Server::start(move |_, seen| {
            let body = || comment(44, BOT, &kept.lock().unwrap());
            let written = !kept.lock().unwrap().is_empty();
            match asked(seen) {
                ("GET", "/user") => says(200, &json!({"id": BOT, "login": "bot"})),
                ("GET", target) if target.contains("/comments?") => says(200, &json!([body()])),
                ("GET", _) if written && listed => {
                    let more = json!({"comments": 1, "updated_at": "2026-11-22T10:00:09Z"});
                    says(200, &with(tracked(Step::AttachEvidence), more))
                }
                ("GET", _) => says(200, &tracked(Step::AttachEvidence)),
                _ => {
                    let value: Value = serde_json::from_str(&seen.body).unwrap();
                    *kept.lock().unwrap() = value["body"].as_str().unwrap().to_owned();
                    says(201, &body())
                }
            }
        })
        .await;
        let hub = Hub { server };
        let WriteReply::Answered(record, _) = hub.update(Step::AttachEvidence).await else { panic!("{listed}") };
        let [link] = <[_; 1]>::try_from(record.evidence).unwrap();
        let Marking::By(marker) = link.marking else { panic!("{listed}") };
        assert_eq!((marker.key.as_str(), marker.uid.as_str()), (KEY, "uid-9"));
        assert_eq!((link.bundle.as_str(), link.url.as_str()), ("p/1", "https://archive.example.com/\"p"));
        let written = hub.server.seen().into_iter().filter(|seen| seen.method != "GET").collect::<Vec<_>>();
        assert_eq!(written.len(), 1);
        assert_eq!(asked(&written[0]), ("POST", "/repos/acme/shop/issues/5/comments"));
        let text = sent.lock().unwrap().clone();
        assert!(text.starts_with("Evidence of the accepted release-readiness review:\n\n- [p/1](<"), "{text}");
    }
}

/// Whatever somebody changes between the look that was verified and the one right before the change.
#[tokio::test]
async fn nothing_is_changed_that_is_not_what_was_verified() {
    for more in [
        json!({"updated_at": "2026-11-22T10:00:01Z"}),
        json!({"milestone": {"number": 12, "title": "renamed"}}),
        json!({"state": "closed", "state_reason": "completed"}),
        json!({"body": "### Release\n\nr-2"}),
    ] {
        let reads = AtomicUsize::new(0);
        let verified = tracked(Step::ApproveTracker);
        let changed = with(verified.clone(), more.clone());
        let server = Server::start(move |_, seen| {
            assert_eq!(seen.method, "GET");
            let first = reads.fetch_add(1, Ordering::Relaxed) == 0;
            says(200, if first { &verified } else { &changed })
        })
        .await;
        let hub = Hub { server };
        assert_eq!(hub.update(Step::ApproveTracker).await, WriteReply::Conflict, "{more}");
        assert_eq!(hub.server.count(), 2);
    }
}

#[tokio::test]
async fn every_answer_has_one_meaning_for_a_change() {
    let not_applied = |trouble: Trouble| WriteReply::NotApplied(trouble.into());
    let unknown = |trouble: Trouble| WriteReply::Unknown(trouble.into());
    let asked = Unreachable { trouble: Trouble::TooManyRequests, retry_after: Some(Duration::from_secs(60)) };
    for (act, expected) in [
        (error(400, "Problems parsing JSON"), WriteReply::Refused),
        (error(422, "Validation Failed"), WriteReply::Refused),
        (error(410, "This issue was deleted"), WriteReply::Gone),
        // Whoever may read and not write, an issue that is locked, a repository that is archived.
        (error(404, "Not Found"), not_applied(Trouble::Forbidden)),
        (error(403, "Unable to create comment because issue is locked."), not_applied(Trouble::Forbidden)),
        (error(403, "Repository was archived so is read-only."), not_applied(Trouble::Forbidden)),
        (error(403, "You have exceeded a secondary rate limit."), WriteReply::NotApplied(asked)),
        (error(401, "Bad credentials"), not_applied(Trouble::Unauthorized)),
        (error(301, "Moved Permanently"), unknown(Trouble::NotUnderstood)),
        (page(409), unknown(Trouble::NotUnderstood)),
        (error(500, "Server Error"), unknown(Trouble::Unavailable)),
        (error(502, "Server Error"), unknown(Trouble::Unavailable)),
        (says(200, &json!({"state": "closed"})), unknown(Trouble::NotUnderstood)),
        (Act::Close, unknown(Trouble::Unavailable)),
    ] {
        let hub = Hub::start(issue(5), act.clone(), issue(5), json!([])).await;
        assert_eq!(hub.close().await, expected, "{act:?}");
        assert_eq!(hub.server.count(), 3, "{act:?}: a change is sent once");
        for step in [Step::ApproveTracker, Step::AttachEvidence] {
            let hub = Hub::start(tracked(step), act.clone(), tracked(step), json!([])).await;
            let reply = hub.update(step).await;
            let told = match (&expected, reply) {
                (WriteReply::Refused, WriteReply::Refused) | (WriteReply::Gone, WriteReply::Gone) => true,
                (WriteReply::NotApplied(why), WriteReply::NotApplied(other)) => *why == other,
                (WriteReply::Unknown(why), WriteReply::Unknown(other)) => *why == other,
                (expected, reply) => panic!("{act:?}: {reply:?}, not {expected:?}"),
            };
            assert!(told, "{act:?}, {step}");
            assert_eq!(hub.server.count(), 3, "{act:?}, {step}: a change is sent once");
        }
    }
}

/// What the product cannot say is not sent.
#[tokio::test]
async fn a_state_without_a_label_is_refused_before_anything_is_sent() {
    let server = Server::always(says(200, &tracked(Step::ApproveTracker))).await;
    let states = json!([{"label": "done", "state": "Done"}, {"label": "in-review", "state": "InReview"}]);
    let settings = at(&server, json!({"tokenSecretRef": {"name": "x", "key": "y"}, "states": states}));
    assert!(settings.product.offers_state("Done") && !settings.product.offers_state("Approved"));
    let connected = connect(&settings).unwrap();
    let seen = Sighting::Tracker(read_tracker(&connected).await);
    let permit = connected.gate.permit().await.unwrap();
    let reply = connected.tracker.unwrap().update(order_seen(Step::ApproveTracker, seen), permit).await;
    assert_eq!((reply, server.count()), (WriteReply::Refused, 1));
}

/// The record that nobody may see any more is not gone.
#[tokio::test]
async fn a_record_is_gone_where_others_can_be_seen() {
    for (all, expected) in [
        (says(200, &json!([])), WriteReply::Gone),
        (error(404, "Not Found"), WriteReply::NotApplied(Trouble::Forbidden.into())),
    ] {
        let server = Server::start(move |number, _| match number {
            0 => says(200, &issue(5)),
            1 => error(404, "Not Found"),
            _ => all.clone(),
        })
        .await;
        let hub = Hub { server };
        assert_eq!(hub.close().await, expected);
        assert_eq!(hub.server.count(), 3);
    }
}

/// The label that makes it a record of the role was taken off after it was verified.
#[tokio::test]
async fn a_record_of_another_role_is_not_changed() {
    let other = with(issue(5), json!({"labels": ["review-queue"]}));
    let server = Server::start(move |number, seen| {
        assert_eq!(seen.method, "GET");
        says(200, &if number == 0 { issue(5) } else { other.clone() })
    })
    .await;
    let hub = Hub { server };
    assert_eq!(hub.close().await, WriteReply::Gone);
}

/// Somebody who waits for the only place gets it when all of the change is done, the look after it included.
#[tokio::test]
async fn the_look_after_a_change_waits_behind_nobody() {
    let after = with(tracked(Step::AttachEvidence), json!({"updated_at": "2026-11-22T10:00:09Z"}));
    let labels = says(200, &json!(["in-review", "approved"]));
    let hub = Hub::start(tracked(Step::ApproveTracker), labels, after, json!([])).await;
    let mut settings = at(&hub.server, json!({"tokenSecretRef": {"name": "github", "key": "token"}}));
    settings.limits.concurrency = 1;
    let connected = connect(&settings).unwrap();
    let seen = Sighting::Tracker(read_tracker(&connected).await);
    let permit = connected.gate.permit().await.unwrap();
    // Whoever gets the place keeps it.
    let (gate, waits) = (connected.gate.clone(), AtomicBool::new(false));
    let waiting = async {
        waits.store(true, Ordering::Relaxed);
        gate.permit().await
    };
    let update = async {
        while !waits.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        connected.tracker.as_ref().unwrap().update(order_seen(Step::ApproveTracker, seen), permit).await
    };
    let (waited, reply) = futures::join!(waiting, update);
    assert!(matches!(&reply, WriteReply::Answered(record, _) if record.state == "Approved"), "{reply:?}");
    drop(waited);
}
