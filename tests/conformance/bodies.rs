//! Whether a body that was sent is what a row's template says: key by key and as deep as it goes, with the template's constants.

use regex::{Captures, Regex};
use serde_json::Value;

/// Whether this was sent by a row with this body template. What has no body sends none.
///
/// In a template `<name>` is one text, one number or null; inside of a text a part of it; as a key any one key. `<others,>` is
/// any number of other people's links, whatever they hold, and `<links>` any number of links that are announced.
pub fn fits(template: &str, sent: &str) -> bool {
    if template.is_empty() || sent.is_empty() {
        return template == sent;
    }
    serde_json::from_str(sent).is_ok_and(|sent| is_as(&parsed(template), &sent))
}

/// A template as JSON: each of its holes is a text that holds its name.
fn parsed(template: &str) -> Value {
    let pieces = Regex::new(r#""[^"]*"|<([A-Za-z]+)\??(,?)>"#).expect("a pattern");
    let quoted = pieces.replace_all(template, |piece: &Captures<'_>| match piece.get(1) {
        None => piece[0].to_owned(),
        Some(name) => format!("\"<{}>\"{}", name.as_str(), &piece[2]),
    });
    serde_json::from_str(&quoted).unwrap_or_else(|why| panic!("{template} is no template: {why}"))
}

fn hole(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix('<')?.strip_suffix('>').filter(|name| !name.contains('<'))
}

fn is_as(template: &Value, sent: &Value) -> bool {
    match (template, sent) {
        _ if hole(template).is_some() => matches!(sent, Value::String(_) | Value::Number(_) | Value::Null),
        (Value::String(text), Value::String(sent)) if text.contains('<') => {
            let holes = Regex::new("<[A-Za-z]+>").expect("a pattern");
            let whole = format!("^{}$", holes.replace_all(&regex::escape(text), ".+"));
            Regex::new(&whole).expect("a pattern").is_match(sent)
        }
        (Value::Object(template), Value::Object(sent)) => {
            let any = template.iter().find(|(key, _)| key.starts_with('<')).map(|(_, value)| value);
            let of = |key: &str| template.get(key).or(any);
            template.len() == sent.len() && sent.iter().all(|(key, value)| of(key).is_some_and(|of| is_as(of, value)))
        }
        (Value::Array(template), Value::Array(sent)) => match template.split_first() {
            Some((first, rest)) if hole(first) == Some("others") => {
                let ours = sent.len().checked_sub(rest.len());
                ours.is_some_and(|ours| rest.iter().zip(&sent[ours..]).all(|(template, sent)| is_as(template, sent)))
            }
            Some((first, [])) if hole(first) == Some("links") => {
                let link = parsed(r#"{"rel":<rel>,"url":<url>}"#);
                sent.iter().all(|sent| is_as(&link, sent))
            }
            _ => {
                template.len() == sent.len() && template.iter().zip(sent).all(|(template, sent)| is_as(template, sent))
            }
        },
        _ => template == sent,
    }
}

#[test]
fn a_body_is_compared_as_deep_as_it_goes() {
    let issue = r#"{"issue":{"status_id":<status>,"custom_fields":[{"id":<field>,"value":<mark>}]}}"#;
    assert!(fits(issue, r#"{"issue":{"status_id":5,"custom_fields":[{"id":14,"value":"\"subject\":"}]}}"#));
    for other in [
        "",
        "[]",
        "a=b",
        r#"{"issue":{"status_id":5}}"#,
        r#"{"issue":{"status_id":5,"custom_fields":[{"id":14,"value":"x"}],"subject":"x"}}"#,
        r#"{"issue":{"subject":5,"custom_fields":[{"id":14,"value":"x"}]}}"#,
        r#"{"issue":{"status_id":{"id":5},"custom_fields":[{"id":14,"value":"x"}]}}"#,
        r#"{"issue":{"status_id":5,"custom_fields":[{"id":14,"value":"x"},{"id":15,"value":"x"}]}}"#,
        r#"{"issue":{"status_id":5,"custom_fields":[{"id":14,"value":"x","name":"x"}]}}"#,
    ] {
        assert!(!fits(issue, other), "{other}");
    }
    assert!(fits("", "") && !fits("", "{}"));

    let transition = r#"{"transition":{"id":<transition>},"fields":{<field>:<mark>}}"#;
    assert!(fits(transition, r#"{"transition":{"id":"31"},"fields":{"customfield_1":"x"}}"#));
    assert!(!fits(transition, r#"{"transition":{"id":"31"},"fields":{"customfield_1":"x","summary":"x"}}"#));
    assert!(!fits(transition, r#"{"transition":{"id":"31"},"fields":{"fixVersions":[]}}"#));

    let constant = r#"{"state":"closed","reason":<reason?>}"#;
    assert!(fits(constant, r#"{"state":"closed","reason":null}"#));
    assert!(!fits(constant, r#"{"state":"open","reason":null}"#));

    let evidence = r#"{"evidence":[<others,>{"bundle":<bundle>}]}"#;
    assert!(fits(evidence, r#"{"evidence":[{"bundle":"a","by":[1]},{"bundle":"b"}]}"#));
    assert!(fits(evidence, r#"{"evidence":[{"bundle":"b"}]}"#));
    assert!(!fits(evidence, r#"{"evidence":[{"bundle":"b","by":1}]}"#) && !fits(evidence, r#"{"evidence":[]}"#));

    let links = r#"{"links":[<links>]}"#;
    assert!(fits(links, r#"{"links":[]}"#) && fits(links, r#"{"links":[{"rel":"a","url":"b"}]}"#));
    assert!(!fits(links, r#"{"links":[{"rel":"a","url":"b","note":"c"}]}"#));

    let part = r#"{"last":"<prefix>.<entry>"}"#;
    assert!(fits(part, r#"{"last":"a.b"}"#) && !fits(part, r#"{"last":"a"}"#));
}
