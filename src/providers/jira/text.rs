//! Values as one text. In version 3 of the API a long text is a document, in version 2 it is written as people typed it.

use crate::providers::rest::json::DEPTH_MAX;
use serde_json::Value;

/// A field's value as one text: what a choice says, what a document says, all of several.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(self::value).collect::<Vec<_>>().join(" | "),
        Value::Object(object) if object.get("type").is_some_and(|kind| kind == "doc") => {
            let mut lines = String::new();
            blocks(value, DEPTH_MAX, &mut lines);
            lines
        }
        Value::Object(object) => {
            ["value", "name"].iter().find_map(|name| object.get(*name)).map(self::value).unwrap_or_default()
        }
        other => other.to_string(),
    }
}

/// A document's blocks, each on lines of its own. An action item is an item of a task list.
fn blocks(node: &Value, depth: usize, lines: &mut String) {
    let kind = node["type"].as_str().unwrap_or_default();
    match kind {
        "paragraph" | "heading" => inline(node, depth, lines),
        "codeBlock" => {
            lines.push_str("```\n");
            inline(node, depth, lines);
            lines.push_str("\n```");
        }
        "taskItem" => {
            let ticked = node["attrs"]["state"] == "DONE";
            lines.push_str(if ticked { "- [x] " } else { "- [ ] " });
            inline(node, depth, lines);
        }
        _ => {
            if kind == "listItem" {
                lines.push_str("- ");
            }
            // What the reader of bodies lets in is no deeper.
            for child in node["content"].as_array().into_iter().flatten().take_while(|_| depth > 0) {
                blocks(child, depth - 1, lines);
            }
            return;
        }
    }
    lines.push('\n');
}

/// What stands in a block, on one line but for breaks that somebody made.
fn inline(node: &Value, depth: usize, line: &mut String) {
    match node["type"].as_str().unwrap_or_default() {
        "text" => line.push_str(node["text"].as_str().unwrap_or_default()),
        "hardBreak" => line.push('\n'),
        "mention" | "emoji" | "status" | "date" => {
            line.push_str(node["attrs"]["text"].as_str().unwrap_or_default());
        }
        _ => {
            for child in node["content"].as_array().into_iter().flatten().take_while(|_| depth > 0) {
                inline(child, depth - 1, line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::value;
    use crate::providers::issues::form::Form;
    use serde_json::{Value, json};

    fn paragraph(text: &str) -> Value {
        json!({"type": "paragraph", "content": [{"type": "text", "text": text}]})
    }

    #[test]
    fn a_document_is_its_lines_and_its_action_items_are_a_task_list() {
        let task = |state: &str, text: &str| {
            json!({"type": "taskItem", "attrs": {"localId": "1", "state": state}, "content": [
            {"type": "text", "text": text, "marks": [{"type": "strong"}]}, {"type": "mention", "attrs": {"text": " @Kim"}}]})
        };
        let item = json!({"type": "listItem", "content": [paragraph("[ ] typed")]});
        let document = json!({"type": "doc", "version": 1, "content": [
            {"type": "heading", "attrs": {"level": 2}, "content": [{"type": "text", "text": "Ready"}]},
            {"type": "taskList", "content": [task("DONE", "rehearsed"), task("TODO", "signed"),
                {"type": "taskList", "content": [task("TODO", "deeper")]}]},
            {"type": "bulletList", "content": [item]},
            {"type": "codeBlock", "content": [{"type": "text", "text": "- [ ] not this"}]},
            {"type": "panel", "content": [paragraph("in a panel")]},
        ]});
        let text = value(&document);
        assert_eq!(
            text,
            "Ready\n- [x] rehearsed @Kim\n- [ ] signed @Kim\n- [ ] deeper @Kim\n- [ ] typed\n```\n- [ ] not this\n```\nin a panel\n"
        );
        assert_eq!(Form::new(text).open_items(), ["2 signed @Kim", "3 deeper @Kim", "4 typed"]);
    }

    #[test]
    fn a_value_is_one_text_whatever_the_field() {
        for (field, text) in [
            (Value::Null, ""),
            (json!("r-1"), "r-1"),
            (json!(3), "3"),
            (json!({"id": "1", "value": "payments"}), "payments"),
            (json!({"id": "1", "name": "payments"}), "payments"),
            (json!(["a", {"value": "b"}]), "a | b"),
            (json!({"type": "doc", "version": 1, "content": [paragraph("r-1")]}), "r-1\n"),
            (json!({"other": 1}), ""),
        ] {
            assert_eq!(value(&field), text, "{field}");
        }
    }
}
