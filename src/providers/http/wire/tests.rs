use super::*;
use proptest::prelude::*;

const LINKS: &str = r#"{"id":"REL-1","release":{"id":"r","service":"s","version":"v"},"state":"x",
    "milestone":{"id":"1","title":"t"},"evidence":[{"bundle":"b","digest":"d","url":"u"}]}"#;

#[test]
fn a_link_without_the_key_is_unmarked_where_the_tracker_keeps_markers() {
    let marking = |body: &str| release(body.as_bytes()).unwrap().evidence.remove(0).marking;
    assert_eq!(marking(LINKS), Marking::NotCarried);
    assert_eq!(marking(&LINKS.replace(r#""state""#, r#""closure":null,"state""#)), Marking::Unmarked);
    let marked = LINKS.replace(r#""digest""#, r#""closure":{"key":"k","uid":"u"},"digest""#);
    assert_eq!(marking(&marked), Marking::By(Marker { key: "k".into(), uid: "u".into() }));
}

#[test]
fn a_thousand_links_and_no_more() {
    let link = r#"{"bundle":"b","digest":"d","url":"u"}"#;
    let record = |count: usize| LINKS.replace(&format!("[{link}]"), &format!("[{}]", vec![link; count].join(",")));
    assert_eq!(release(record(1000).as_bytes()).unwrap().evidence.len(), 1000);
    assert!(release(record(1001).as_bytes()).is_err());
}

#[test]
fn a_list_is_no_object_wherever_it_stands() {
    let entry = r#"{"id":"Q","release":{"id":"r"},"review":{"version":"3"},"state":"Pending","closure":null}"#;
    assert!(queue_entry(entry.as_bytes()).is_ok());
    for (object, list) in
        [(r#"{"id":"r"}"#, r#"["r"]"#), (r#"{"version":"3"}"#, r#"["3"]"#), ("null", r#"["key","uid"]"#)]
    {
        assert!(queue_entry(entry.replace(object, list).as_bytes()).is_err(), "{list}");
    }
    assert!(release(LINKS.replace(r#"{"bundle":"b","digest":"d","url":"u"}"#, r#"["b","d","u"]"#).as_bytes()).is_err());
    assert!(listed(br#"{"items":[["a"]]}"#).is_err());
}

proptest! {
    /// Whatever comes, it becomes a record that keeps the rules, or nothing.
    #[test]
    fn nothing_that_comes_can_break_it(body in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = (review(&body), bundle(&body, false), checklist(&body), queue_entry(&body), release(&body), listed(&body));
    }

    #[test]
    fn identifiers_keep_their_rule(id in "\\PC{0,140}", state in "\\PC{0,20}") {
        let body = serde_json::json!({"id": id, "release": {"id": "r"}, "review": {"version": "3"}, "state": state});
        match queue_entry(body.to_string().as_bytes()) {
            Ok(record) => prop_assert!(is_id(&record.id) && record.id == id && record.state.word() == state),
            Err(NotTheContract) => prop_assert!(!is_id(&id) || state.len() > TEXT_MAX),
        }
    }
}
