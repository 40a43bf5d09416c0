//! What issues, comments and a repository come to.

use super::*;

#[tokio::test]
async fn every_request_says_what_it_speaks() {
    let server = Server::always(says(200, &issue(5))).await;
    let Observation::Found(record, _) = read_checklist(&connected(&server)).await else { panic!() };
    assert_eq!(record.marking, Marking::NotCarried);
    let seen = &server.seen()[0];
    assert_eq!(asked(seen), ("GET", "/repos/acme/shop/issues/5"));
    assert_eq!(seen.header("accept"), Some("application/vnd.github+json"));
    assert_eq!(seen.header("x-github-api-version"), Some("2022-11-28"));
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
}

#[tokio::test]
async fn closed_is_done_where_it_was_closed_as_done() {
    for (more, expected) in [
        (json!({}), Progress::ToDo("open".into())),
        (json!({"state": "closed"}), Progress::Done("closed".into())),
        (
            json!({"state": "closed", "state_reason": "completed", "closed_by": {"id": 1, "login": "kim"}}),
            Progress::Done("closed by kim".into()),
        ),
        (json!({"state": "closed", "state_reason": "not_planned"}), Progress::Other("closed as not planned".into())),
        (json!({"state": "closed", "state_reason": "duplicate"}), Progress::Other("closed as a duplicate".into())),
        (json!({"state": "closed", "state_reason": "new"}), Progress::Other("closed for another reason".into())),
    ] {
        let server = Server::always(says(200, &with(issue(5), more.clone()))).await;
        let Observation::Found(record, _) = read_checklist(&connected(&server)).await else { panic!("{more}") };
        assert_eq!(record.state, expected, "{more}");
    }
}

/// A pull request is no issue, and a state that there is not is none.
#[tokio::test]
async fn what_is_no_issue_is_not_understood() {
    for more in [json!({"pull_request": {"url": "x"}}), json!({"state": "merged"}), json!({"updated_at": "soon"})] {
        let server = Server::always(says(200, &with(issue(5), more.clone()))).await;
        assert_eq!(read_checklist(&connected(&server)).await, unreachable(Trouble::NotUnderstood, None), "{more}");
    }
}

/// A change of anything that is compared is another revision; so is going back to what was, at another time.
#[tokio::test]
async fn a_revision_is_of_all_that_is_compared() {
    let revision = async |more: Value| {
        let server = Server::always(says(200, &with(issue(5), more))).await;
        let Observation::Found(_, revision) = read_checklist(&connected(&server)).await else { panic!() };
        revision.0
    };
    let first = revision(json!({})).await;
    assert_eq!(first, revision(json!({"closed_by": null, "locked": true, "reactions": {}})).await);
    for more in [
        json!({"state": "closed"}),
        json!({"title": "x"}),
        json!({"body": "x"}),
        json!({"labels": ["readiness-checklist"]}),
        json!({"sub_issues_summary": {"total": 2, "completed": 1, "percent_completed": 50}}),
        json!({"sub_issues_summary": {"total": 2, "completed": 2, "percent_completed": 100}}),
        json!({"milestone": {"number": 12, "title": "u"}}),
        json!({"milestone": {"number": 13, "title": "t"}}),
        json!({"milestone": null}),
        json!({"updated_at": "2026-11-22T10:00:01Z"}),
    ] {
        assert_ne!(first, revision(more.clone()).await, "{more}");
    }
}

/// The forms of two roles have the same headings; what they leave behind is told apart by the label alone.
#[tokio::test]
async fn an_issue_without_the_roles_label_is_no_record_of_it() {
    let server = Server::always(says(200, &with(issue(5), json!({"labels": [{"name": "review-queue"}]})))).await;
    let connected = connected(&server);
    assert_eq!(read_checklist(&connected).await, Observation::Missing);
    assert_eq!(read_tracker(&connected).await, Observation::Missing);
    let entry = connected.queue.as_ref().unwrap().entry(subject(Some("5")), None).await;
    assert!(matches!(entry, Observation::Found(..)), "{entry:?}");
    // A review has no label, and is always named.
    let review = connected.governance.as_ref().unwrap().review(subject(Some("5")), None).await;
    assert!(matches!(review, Observation::Found(..)), "{review:?}");
    assert_eq!(server.count(), 4, "it is there, so that nothing else is asked");
}

/// Whoever closes an issue in GitHub is not stopped by its sub-issues.
#[tokio::test]
async fn open_sub_issues_are_an_open_item() {
    let counts = |total: u64, completed: u64| json!({"total": total, "completed": completed, "percent_completed": 0});
    for (summary, open) in [
        (json!(null), vec![]),
        (counts(0, 0), vec![]),
        (counts(5, 5), vec![]),
        (counts(5, 3), vec!["2 of 5 sub-issues"]),
        (counts(1, 0), vec!["1 of 1 sub-issues"]),
    ] {
        let server = Server::always(says(200, &with(issue(5), json!({"sub_issues_summary": summary})))).await;
        let Observation::Found(record, _) = read_checklist(&connected(&server)).await else { panic!("{summary}") };
        assert_eq!(record.open_items, open, "{summary}");
    }
}

#[tokio::test]
async fn the_first_label_of_the_settings_says_the_state() {
    for (labels, state) in [
        (json!([]), ""),
        (json!([{"name": "urgent"}]), ""),
        (json!([{"name": "IN-Review"}]), "InReview"),
        (json!(["in-review"]), "InReview"),
        (json!([{"name": "in-review"}, {"name": "approved"}]), "Approved"),
        (json!([{"name": "in-review"}, {"name": "approved"}, {"name": "rejected"}]), "Rejected"),
    ] {
        let mut worn = labels.clone();
        worn.as_array_mut().unwrap().push(json!("release"));
        let server = Server::always(says(200, &with(issue(5), json!({"labels": worn})))).await;
        let Observation::Found(record, _) = read_tracker(&connected(&server)).await else { panic!("{labels}") };
        assert_eq!(record.state, state, "{labels}");
        assert_eq!(server.count(), 1, "nothing else is read where there are no comments");
    }
}

/// Only a mark in a comment of ours is one: not in the issue's text, and not in anybody else's comment.
#[tokio::test]
async fn a_mark_is_ours_where_we_wrote_it() {
    let mark = |bundle: &str| {
        format!("- [{bundle}](<https://a/{bundle}>) `sha256:11` <!-- releaseclosure:AttachEvidence key=k uid=u -->")
    };
    let body = format!("{}\n### Evidence\n\n{}\n", issue(5)["body"].as_str().unwrap(), mark("text"));
    let whole = with(issue(5), json!({"body": body, "comments": 3}));
    let comments =
        [comment(1, BOT, &mark("ours")), comment(2, 8, &mark("theirs")), comment(3, 8, "- [b](https://a/b) x")];
    let server = Server::start(move |_, seen| match asked(seen).1 {
        "/user" => says(200, &json!({"id": BOT, "login": "bot"})),
        "/repos/acme/shop/issues/5" => says(200, &whole),
        "/repos/acme/shop/issues/5/comments?per_page=50&page=1" => says(200, &json!(comments)),
        other => panic!("{other}"),
    })
    .await;
    let connected = connected(&server);
    for reads in [3, 5] {
        let Observation::Found(record, _) = read_tracker(&connected).await else { panic!() };
        let ours: Vec<(&str, bool)> =
            record.evidence.iter().map(|link| (link.bundle.as_str(), link.marking != Marking::Unmarked)).collect();
        assert_eq!(ours, [("text", false), ("ours", true), ("theirs", false), ("b", false)]);
        assert_eq!(server.count(), reads, "whose token it is, is asked once");
    }
}

#[tokio::test]
async fn comments_are_read_to_their_end_and_no_further() {
    // So many are told, so many are on each page: so many requests.
    for (told, pages, requests, understood) in [
        (2, vec![2], 2, true),
        (3, vec![2, 1], 3, true),
        // Of people that GitHub does not trust.
        (3, vec![2, 0], 3, true),
        (100_000, vec![1; 20], 21, false),
    ] {
        let shown = pages.clone();
        let server = Server::start(move |number, seen| {
            if asked(seen).1 == "/repos/acme/shop/issues/5" {
                return says(200, &with(issue(5), json!({"comments": told})));
            }
            assert!(asked(seen).1.ends_with(&format!("page={number}")), "{}", seen.target);
            let comments: Vec<Value> = (0..shown[number - 1]).map(|id| comment(id, 8, "words")).collect();
            says(200, &json!(comments))
        })
        .await;
        let read = read_tracker(&connected(&server)).await;
        assert_eq!(matches!(read, Observation::Found(..)), understood, "{pages:?}: {read:?}");
        assert_eq!(server.count(), requests, "{pages:?}");
    }
}

/// GitHub says 404 of what may not be seen, and 410 of what was deleted and of issues that are turned off.
#[tokio::test]
async fn missing_is_what_is_not_there_where_others_can_be_seen() {
    for (one, all, expected) in [
        (404, says(200, &json!([issue(1)])), Observation::Missing),
        (410, says(200, &json!([])), Observation::Missing),
        (404, error(404, "Not Found"), unreachable(Trouble::Forbidden, None)),
        (410, error(410, "Issues are disabled for this repo"), unreachable(Trouble::Forbidden, None)),
        (404, error(403, "Resource not accessible by personal access token"), unreachable(Trouble::Forbidden, None)),
        (404, page(502), unreachable(Trouble::Unavailable, None)),
        (301, says(200, &json!([])), unreachable(Trouble::NotUnderstood, None)),
    ] {
        let told = format!("{one} {all:?}");
        let server =
            Server::start(move |number, _| if number == 0 { error(one, "Not Found") } else { all.clone() }).await;
        assert_eq!(read_checklist(&connected(&server)).await, expected, "{told}");
    }
    let server = Server::always(error(404, "Not Found")).await;
    let found = connected(&server).queue.unwrap().entry(subject(None), None).await;
    assert_eq!(found, unreachable(Trouble::Forbidden, None), "a list is there where it may be seen");
}

#[tokio::test]
async fn a_look_up_reads_until_a_page_is_empty_and_knows_more_than_one() {
    let wanted = issue;
    let unlabelled = with(issue(8), json!({"labels": [{"name": "release"}]}));
    let other = |number: u64| with(issue(number), json!({"body": "### Release\n\nr-2\n\n### Review version\n\n3\n"}));
    let pull = with(issue(9), json!({"pull_request": {}}));
    for (pages, expected) in [
        (vec![json!([other(1), pull]), json!([other(2), unlabelled]), json!([])], None),
        (vec![json!([pull]), json!([wanted(3)]), json!([])], Some(Ok("3"))),
        (vec![json!([wanted(3), other(1)]), json!([wanted(4)]), json!([])], Some(Err(2))),
    ] {
        let shown = pages.clone();
        let server = Server::start(move |number, _| says(200, &shown[number])).await;
        let found = connected(&server).checklist.unwrap().checklist(subject(None), None).await;
        match (&found, expected) {
            (Observation::Missing, None) => {}
            (Observation::Found(record, _), Some(Ok(id))) => assert_eq!(record.id, id),
            (Observation::Ambiguous(many), Some(Err(expected))) => assert_eq!(*many, expected),
            _ => panic!("{found:?}"),
        }
        assert_eq!(server.count(), pages.len());
        assert!(server.seen()[1].target.ends_with("labels=readiness-checklist&per_page=30&page=2"));
    }
}

#[tokio::test]
async fn a_probe_names_the_setting_that_does_not_fit() {
    let good = json!({"archived": false, "disabled": false, "has_issues": true, "permissions": {"push": true}});
    let probe = async |act: Act, system: System| {
        let server = Server::start(move |_, seen| match asked(seen).1 {
            "/repos/acme/shop" => act.clone(),
            "/user" => says(200, &json!({"id": BOT, "login": "bot"})),
            _ => labels(),
        })
        .await;
        connected(&server).prober.probe(system).await
    };
    for (more, governance, others) in [
        (json!({}), None, None),
        (json!({"permissions": {"push": false, "triage": true}}), None, None),
        (json!({"permissions": null}), None, None),
        (json!({"has_issues": false}), Some("github.repository"), Some("github.repository")),
        (json!({"disabled": true}), Some("github.repository"), Some("github.repository")),
        (json!({"archived": true}), None, Some("github.repository")),
        (json!({"permissions": {"push": false, "triage": false}}), None, Some("github.tokenSecretRef")),
    ] {
        for (system, expected) in [
            (System::Governance, governance),
            (System::Checklist, others),
            (System::Tracker, others),
            (System::Queue, others),
        ] {
            let found = probe(says(200, &with(good.clone(), more.clone())), system).await;
            match expected {
                None => assert_eq!(found, Probe::Ready, "{more}, {system}"),
                Some(expected) => {
                    assert!(
                        matches!(found, Probe::Unfit { setting, .. } if setting == expected),
                        "{more}, {system}: {found:?}"
                    );
                }
            }
        }
    }
    for status in [404, 301] {
        let found = probe(error(status, "x"), System::Queue).await;
        assert!(matches!(found, Probe::Unfit { setting: "github.repository", .. }), "{status}: {found:?}");
    }
    let refused = Probe::Failed(Trouble::Unauthorized.into());
    assert_eq!(probe(error(401, "Bad credentials"), System::Queue).await, refused);
}

/// A typing error in a label would have every record missing, or an approval make a label that nobody knows.
#[tokio::test]
async fn a_label_that_the_repository_does_not_have_is_named() {
    let repository = json!({"has_issues": true, "permissions": {"push": true}});
    let all = ["approved", "in-review", "readiness-checklist", "rejected", "release", "REVIEW-queue"];
    // What is missing, for whom that does not fit, and which setting says it.
    for (missing, system, setting) in [
        ("readiness-checklist", System::Checklist, "github.labels.checklist"),
        ("release", System::Tracker, "github.labels.tracker"),
        ("rejected", System::Tracker, "github.states"),
        ("approved", System::Tracker, "github.states"),
        ("REVIEW-queue", System::Queue, "github.labels.queue"),
    ] {
        let repository = repository.clone();
        let server = Server::start(move |_, seen| match asked(seen).1 {
            "/repos/acme/shop" => says(200, &repository),
            "/user" => says(200, &json!({"id": BOT, "login": "bot"})),
            target => {
                let page = target.strip_prefix("/repos/acme/shop/labels?per_page=100&page=").unwrap();
                // One on each page.
                let left = all.iter().filter(|name| **name != missing);
                let shown = left.skip(page.parse::<usize>().unwrap() - 1).take(1);
                says(200, &json!(shown.map(|name| json!({"name": name})).collect::<Vec<_>>()))
            }
        })
        .await;
        let prober = connected(&server).prober;
        let found = prober.probe(system).await;
        assert!(matches!(found, Probe::Unfit { setting: named, .. } if named == setting), "{missing}: {found:?}");
        for other in [System::Governance, System::Checklist, System::Tracker, System::Queue] {
            let found = prober.probe(other).await;
            assert_eq!(found == Probe::Ready, other != system, "{missing}, {other}: {found:?}");
        }
    }
    let server = Server::start(move |_, seen| match asked(seen).1 {
        "/repos/acme/shop" => says(200, &repository),
        _ => page(502),
    })
    .await;
    let found = connected(&server).prober.probe(System::Queue).await;
    assert_eq!(found, Probe::Failed(Trouble::Unavailable.into()));
}

/// An App's own token, given as a token, is of no user.
#[tokio::test]
async fn a_token_of_no_user_does_not_fit_the_tracker() {
    let good = json!({"has_issues": true, "permissions": {"push": true}});
    let server = Server::start(move |_, seen| match asked(seen).1 {
        "/user" => error(403, "Resource not accessible by integration"),
        "/repos/acme/shop" => says(200, &good),
        _ => labels(),
    })
    .await;
    let prober = connected(&server).prober;
    assert_eq!(prober.probe(System::Queue).await, Probe::Ready);
    assert!(matches!(prober.probe(System::Tracker).await, Probe::Unfit { setting: "github.tokenSecretRef", .. }));
}

#[tokio::test]
async fn what_is_relied_on_is_said() {
    let server = Server::always(page(500)).await;
    let prober = connected(&server).prober;
    let told = |system| {
        let Abilities { concurrency, marker, unguarded, .. } = prober.abilities(system)?;
        assert!(unguarded.is_empty());
        Some((concurrency, marker))
    };
    assert_eq!(told(System::Governance), Some((None, None)));
    for system in [System::Checklist, System::Tracker, System::Queue] {
        assert_eq!(told(system), Some((Some(Concurrency::ReadVerifyWrite), Some(false))), "{system}");
    }
    assert_eq!((told(System::Archive), told(System::Intake)), (None, None));
    assert_eq!(server.count(), 0);
}

#[test]
fn the_whole_allow_list_is_the_one_that_was_reviewed() {
    let list: Vec<String> = allow_list().iter().map(|row| format!("{} {}", row.pair().0, row.pair().1)).collect();
    let changes: Vec<(&str, &str)> = allow_list()
        .iter()
        .filter(|row| row.pair().0 != "GET")
        .map(|row| (row.pair().1.trim_start_matches("/repos/{owner}/{name}"), row.body()))
        .collect();
    let close = r#"{"state":"closed","state_reason":"completed"}"#;
    assert_eq!(
        changes,
        [
            ("/app/installations/{installation}/access_tokens", r#"{"repositories":[<repository>]}"#),
            ("/issues/{id}", close),
            ("/issues/{id}/labels", r#"{"labels":[<label>]}"#),
            ("/issues/{id}/comments", r#"{"body":<body>}"#),
            ("/issues/{id}", close),
        ]
    );
    assert_eq!(list.len(), 17);
    for word in ["deployment", "review", "dispatch", "release", "milestone", "pull", "action", "merge", "git/"] {
        assert!(list.iter().all(|row| !row.contains(word)), "{word}");
    }
}
