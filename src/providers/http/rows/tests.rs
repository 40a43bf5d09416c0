use super::*;
use crate::closure::ledger::Link;
use crate::closure::snapshot::EvidenceLink;
use crate::providers::rest::table::Fill;
use std::collections::BTreeSet;

fn table() -> String {
    let mut table = String::from("# Everything that is ever sent. Paths are below the connection's endpoint.\n\n");
    for row in allow_list() {
        table.push_str(&format!("{row}\n"));
    }
    table
}

/// The table as people read it. To change it is to change what the operator is able to do.
#[test]
fn the_whole_allow_list_is_the_one_that_was_reviewed() {
    let reviewed = include_str!("../allow_list.txt");
    assert_eq!(table(), reviewed, "\n{}", table());
}

#[test]
fn sixteen_pairs_of_method_and_path() {
    // A first page and the ones behind it are one operation.
    let bare = |path: &'static str| path.split_once('?').map_or(path, |(path, _)| path);
    let pairs: BTreeSet<_> = TABLE.iter().map(|row| (row.pair().0, bare(row.pair().1))).collect();
    assert_eq!(pairs.len(), 16);
    for row in TABLE {
        assert_eq!(row.body().is_empty(), row.pair().0 == "GET", "{row}");
        let read_only = matches!(row.system(), System::Governance | System::Archive);
        assert!(!read_only || row.pair().0 == "GET", "{row}");
        assert!(!row.pair().1.to_lowercase().contains("deploy"), "{row}");
    }
}

#[test]
fn every_row_can_be_filled_and_nothing_is_left_open() {
    let other = EvidenceLink {
        bundle: "b".into(),
        digest: "d".into(),
        url: "u".into(),
        marking: crate::closure::snapshot::Marking::Unmarked,
        as_read: r#"{"b":1}"#.into(),
    };
    let (others, links) = ([other], [Link { rel: "r".into(), url: "u".into() }]);
    let texts = [
        "id",
        "state",
        "time",
        "cursor",
        "bundle",
        "release",
        "reviewVersion",
        "key",
        "uid",
        "digest",
        "url",
        "releaseId",
        "service",
        "closureKey",
        "coordinator",
        "haltId",
        "packet",
        "namespace",
        "cause",
    ];
    let mut fills: Vec<(&str, Fill<'_>)> = texts.iter().map(|name| (*name, Fill::Text("x"))).collect();
    fills.push(("others,", Fill::Others(&others)));
    fills.push(("links", Fill::Links(&links)));
    fills.push(("coordinator?", Fill::Maybe(None)));
    fills.push(("link?", Fill::Maybe(Some("l"))));
    for row in TABLE {
        let request = row.request(&fills).unwrap();
        assert!(!request.path().contains(['{', '}']), "{row}");
        let body = request.into_body();
        if !row.body().is_empty() {
            let _: serde_json::Value = serde_json::from_slice(&body).unwrap();
        }
        // Every hole is needed: with one fill less there is no request.
        for (name, _) in &fills {
            if row.pair().1.contains(&format!("{{{name}}}")) || row.body().contains(&format!("<{name}>")) {
                let less: Vec<_> = fills.iter().copied().filter(|(kept, _)| kept != name).collect();
                assert!(row.request(&less).is_none(), "{row} without {name}");
            }
        }
    }
}

#[test]
fn a_text_never_leaves_its_segment_or_value() {
    for text in ["a/b", "../x", "a?b", "a#b", "a&b=c", "a b", "a+b", "%2e", "é", "\r\n", "\\", "{id}", "<x>"] {
        let request = CHECKLIST.request(&[("id", Fill::Text(text))]).unwrap();
        let segment = request.path().strip_prefix("/checklists/").unwrap();
        assert!(segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)), "{segment}");
        let url = url::Url::parse(&format!("http://h/base{}", request.path())).unwrap();
        assert_eq!((url.path_segments().unwrap().count(), url.query(), url.fragment()), (3, None, None), "{text}");
        let fills = [("release", Fill::Text(text)), ("reviewVersion", Fill::Text("3"))];
        let url = url::Url::parse(&format!("http://h{}", QUEUE_ENTRIES_OF.request(&fills).unwrap().path())).unwrap();
        let pairs: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        assert_eq!(pairs, [("release".to_owned(), text.to_owned()), ("reviewVersion".to_owned(), "3".to_owned())]);
    }
    for dots in ["", ".", ".."] {
        assert!(CHECKLIST.request(&[("id", Fill::Text(dots))]).is_none());
    }
}

#[test]
fn texts_in_bodies_are_json_strings() {
    for text in ["plain", "quo\"te", "back\\slash", "line\nfeed", "é", "\0", "</script>", "<uid>"] {
        let fills = [("id", Fill::Text("c")), ("key", Fill::Text(text)), ("uid", Fill::Text("u"))];
        let body = CLOSE_CHECKLIST.request(&fills).unwrap().into_body();
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value, serde_json::json!({"state": "Closed", "closure": {"key": text, "uid": "u"}}));
    }
}

#[test]
fn all_requests_about_one_record_are_one_to_the_breaker() {
    let id = [("id", Fill::Text("x")), ("key", Fill::Text("k")), ("uid", Fill::Text("u"))];
    let read = CHECKLIST.request(&id).unwrap().record();
    assert_eq!(read, CLOSE_CHECKLIST.request(&id).unwrap().record());
    assert_ne!(read, QUEUE_ENTRY.request(&id).unwrap().record());
    assert_ne!(read, CHECKLIST.request(&[("id", Fill::Text("y"))]).unwrap().record());
}
