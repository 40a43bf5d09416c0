use super::*;

const ISSUE: &str = r#"{"issue":{"id":7,"project":{"id":1,"name":"Shop"},"tracker":{"id":6,"name":"Release"},
    "status":{"id":1,"name":"New","is_closed":false},"priority":{"id":2,"name":"Normal"},"author":{"id":1,"name":"A"},
    "fixed_version":{"id":3,"name":"1.4"},"subject":"Release 1.4","description":null,"done_ratio":0,"spent_hours":0.0,
    "custom_fields":[{"id":6,"name":"Release","value":"r-1"},{"id":14,"name":"Closed by","value":null},
    {"id":9,"name":"Several","multiple":true,"value":["a","b"]}],"updated_on":"2026-11-22T23:23:13Z",
    "allowed_statuses":[{"id":8,"name":"Approved","is_closed":false}]}}"#;

fn read(from: &str, to: &str) -> Issue {
    assert!(ISSUE.contains(from), "{from}");
    issue(ISSUE.replace(from, to).as_bytes()).unwrap()
}

#[test]
fn everything_that_is_compared_is_part_of_the_revision() {
    let revision = read("\"id\":7", "\"id\":7").revision;
    for (from, to) in [
        ("\"id\":1,\"name\":\"New\"", "\"id\":2,\"name\":\"New\""),
        ("\"name\":\"New\"", "\"name\":\"Old\""),
        ("\"name\":\"Release\"},", "\"name\":\"Review\"},"),
        ("{\"id\":1,\"name\":\"Shop\"}", "{\"id\":2,\"name\":\"Shop\"}"),
        ("{\"id\":3,\"name\":\"1.4\"}", "{\"id\":3,\"name\":\"1.5\"}"),
        ("{\"id\":3,\"name\":\"1.4\"}", "{\"id\":4,\"name\":\"1.4\"}"),
        ("\"fixed_version\":{\"id\":3,\"name\":\"1.4\"},", ""),
        ("\"description\":null", "\"description\":\"- [ ] one\""),
        ("\"value\":\"r-1\"", "\"value\":\"r-2\""),
        ("\"value\":null", "\"value\":\"x\""),
        ("T23:23:13Z", "T23:23:14Z"),
    ] {
        assert_ne!(read(from, to).revision, revision, "{to}");
    }
    // What time was booked, and what may be done next, is nobody's change of the record.
    assert_eq!(read("\"spent_hours\":0.0", "\"spent_hours\":1.5").revision, revision);
    assert_eq!(read("\"name\":\"Approved\"", "\"name\":\"Other\"").revision, revision);
}

#[test]
fn a_field_is_read_to_the_letter_and_compared_without_blanks() {
    let issue = read("\"value\":\"r-1\"", "\"value\":\" r-1\\r\\n\"");
    assert_eq!((issue.whole(Some(6)), issue.value(Some(6))), (Some(" r-1\r\n"), "r-1".to_owned()));
    assert_eq!((issue.whole(Some(14)), issue.whole(Some(15)), issue.whole(None)), (Some(""), None, None));
    assert_eq!(issue.value(Some(9)), "a | b");
}

#[test]
fn a_refusal_without_a_word_is_a_conflict_and_one_with_words_is_not() {
    assert!(is_conflict(422, br#"{"errors":[]}"#));
    assert!(!is_conflict(422, br#"{"errors":["Subject cannot be blank"]}"#));
    assert!(!is_conflict(404, br#"{"errors":[]}"#) && !is_conflict(422, b"") && !is_conflict(422, b"{}"));
    assert!(is_own_error(b"") && is_own_error(br#"{"errors":["x"]}"#));
    assert!(!is_own_error(b"{}") && !is_own_error(b"<html>") && !is_own_error(br#"{"errors":"x"}"#));
}
