use super::*;

#[test]
fn a_request_is_named_by_its_row() {
    for (protocol, name) in [
        (Protocol::Http { method: "GET", template: "/reviews/{id}" }, "GET /reviews/{id}"),
        (Protocol::Http { method: "POST", template: "" }, "POST"),
        (Protocol::Nats { subject: "{prefix}.{entry}" }, "publish {prefix}.{entry}"),
        (Protocol::Smtp { operation: "submit" }, "smtp submit"),
    ] {
        assert_eq!(protocol.name(), name);
    }
}

#[test]
fn what_an_event_says_of_its_source_is_bounded() {
    assert!(is_shown("/governance/reviews"));
    for text in ["", "a b", "a\nb", "\u{e9}", &"a".repeat(257)] {
        assert!(!is_shown(text), "{text}");
    }
}
