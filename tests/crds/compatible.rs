//! Whatever the last release let in, this one lets in: objects, and what people have built on columns and fields.
//!
//! `tests/crds/released/` holds the definitions of the last release. They are written anew with a release, and never else:
//! `cp crds/*.yaml tests/crds/released/`. Before the first release they are what people may have installed from the sources.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Rules that may change, and why nobody is kept out by that. Each by its beginning.
const ARGUED: [(&str, &str); 2] = [
    ("(has(self.http) ? 1 : 0)", "exactly one product; the list of products grows"),
    ("has(self.intake) || has(self.queue)", "one of these at least; the list of these grows"),
];

/// What of `old` would not be let in by `new`, or would mean something else there.
fn narrower(at: &str, old: &Value, new: &Value, told: &mut Vec<String>) {
    let mut tell = |what: &str| told.push(format!("{at}: {what}"));
    let texts = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    for word in [
        "type",
        "format",
        "default",
        "nullable",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-int-or-string",
    ] {
        if old[word] != new[word] {
            tell(&format!("{word} was {} and is {}", old[word], new[word]));
        }
    }
    if !new["pattern"].is_null() && old["pattern"] != new["pattern"] {
        tell("another pattern");
    }
    for (word, most) in [
        ("maxLength", true),
        ("maxItems", true),
        ("maxProperties", true),
        ("maximum", true),
        ("minLength", false),
        ("minItems", false),
        ("minProperties", false),
        ("minimum", false),
    ] {
        let fits = match (old[word].as_f64(), new[word].as_f64()) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(old), Some(new)) => {
                if most {
                    new >= old
                } else {
                    new <= old
                }
            }
        };
        if !fits {
            tell(&format!("{word} was {} and is {}", old[word], new[word]));
        }
    }
    if !new["enum"].is_null() && (old["enum"].is_null() || !texts(&old["enum"]).is_subset(&texts(&new["enum"]))) {
        tell("a value is not allowed any more");
    }
    for required in texts(&new["required"]).difference(&texts(&old["required"])) {
        if new["properties"][required]["default"].is_null() {
            tell(&format!("{required} has become required"));
        }
    }
    let rules = |schema: &Value| -> BTreeSet<String> {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        rules.map(|rule| rule["rule"].as_str().unwrap_or_default().to_owned()).collect()
    };
    // A rule about a field that nobody could have set keeps nobody out.
    let unknown = |rule: &str| {
        let field =
            rule.strip_prefix("!has(self.").and_then(|rest| rest.split_once([')', '.'])).map(|(field, _)| field);
        field.is_some_and(|field| {
            old["properties"][field].is_null() && rule.contains(&format!("!has(self.{field}) || "))
        })
    };
    for rule in rules(new).difference(&rules(old)) {
        if !unknown(rule) && !ARGUED.iter().any(|(argued, _)| rule.starts_with(argued)) {
            tell(&format!("a new rule, {rule}"));
        }
    }
    for (name, old) in old["properties"].as_object().into_iter().flatten() {
        match &new["properties"][name] {
            Value::Null => told.push(format!("{at}.{name}: gone")),
            new => narrower(&format!("{at}.{name}"), old, new, told),
        }
    }
    for (word, shown) in [("items", "[]"), ("additionalProperties", "{}")] {
        if old[word].is_object() {
            narrower(&format!("{at}{shown}"), &old[word], &new[word], told);
        }
    }
}

/// The same of a whole definition.
fn broken(old: &Value, new: &Value) -> Vec<String> {
    let mut told = Vec::new();
    let (was, is) = (&old["spec"], &new["spec"]);
    if (&was["group"], &was["scope"], &was["names"]) != (&is["group"], &is["scope"], &is["names"]) {
        told.push("group, scope or names have changed".to_owned());
    }
    for old in was["versions"].as_array().into_iter().flatten() {
        let name = old["name"].as_str().unwrap_or_default();
        let Some(new) = is["versions"].as_array().into_iter().flatten().find(|new| new["name"] == old["name"]) else {
            told.push(format!("version {name} is gone"));
            continue;
        };
        if (&old["served"], &old["subresources"]) != (&new["served"], &new["subresources"]) {
            told.push(format!("version {name} is not served as it was"));
        }
        for (list, key) in [("additionalPrinterColumns", "name"), ("selectableFields", "jsonPath")] {
            let keys = |version: &Value| -> BTreeSet<String> {
                version[list].as_array().into_iter().flatten().map(|entry| entry[key].to_string()).collect()
            };
            told.extend(keys(old).difference(&keys(new)).map(|gone| format!("{list}: {gone} is gone")));
        }
        narrower(name, &old["schema"]["openAPIV3Schema"], &new["schema"]["openAPIV3Schema"], &mut told);
    }
    told
}

fn definition(folder: &str, name: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_str(&text).expect("YAML")
}

fn released() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crds/released");
    let files = std::fs::read_dir(folder).expect("the last release").map(|entry| entry.expect("an entry").file_name());
    files.map(|name| name.into_string().expect("UTF-8")).collect()
}

#[test]
fn what_the_last_release_let_in_is_let_in() {
    let kinds = released();
    assert!(kinds.len() >= 4, "{kinds:?}");
    for kind in kinds {
        let told = broken(&definition("tests/crds/released", &kind), &definition("crds", &kind));
        assert!(told.is_empty(), "{kind} is not what it was at the last release:\n{}", told.join("\n"));
    }
}

/// One narrowing after the other is told, and a widening is not.
#[test]
fn every_narrowing_is_told() {
    let old = definition("tests/crds/released", "releaseclosure.io_releaseclosures.yaml");
    assert_eq!(broken(&old, &old), Vec::<String>::new());
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let with = |path: &str, value: Value| {
        let mut new = old.clone();
        let (parent, name) = path.rsplit_once('/').expect("a path");
        let parent = new.pointer_mut(parent).unwrap_or_else(|| panic!("{parent} is not there"));
        match value {
            Value::Null => drop(parent.as_object_mut().expect("an object").remove(name)),
            value => parent[name] = value,
        }
        broken(&old, &new)
    };
    let spec = |path: &str, value: Value| with(&format!("{schema}{path}"), value);
    for told in [
        with("/spec/names/plural", "closures".into()),
        with("/spec/versions/0/name", "v1beta1".into()),
        with("/spec/versions/0/served", false.into()),
        with("/spec/versions/0/selectableFields", serde_json::json!([])),
        with("/spec/versions/0/additionalPrinterColumns", serde_json::json!([])),
        spec("/properties/coordinator", Value::Null),
        spec("/properties/coordinator/type", "integer".into()),
        spec("/properties/coordinator/maxLength", 1.into()),
        spec("/properties/coordinator/minLength", 2.into()),
        spec("/properties/coordinator/pattern", "^a$".into()),
        spec("/properties/coordinator/enum", serde_json::json!(["a"])),
        spec("/properties/mode/enum", serde_json::json!(["Close"])),
        spec("/properties/mode/default", "Plan".into()),
        spec("/properties/mode/x-kubernetes-validations", serde_json::json!([{"rule": "false"}])),
        spec(
            "/required",
            serde_json::json!(["coordinator", "evidence", "milestone", "playbookRef", "release", "review"]),
        ),
    ] {
        assert!(!told.is_empty());
    }
    for told in [
        spec("/properties/coordinator/maxLength", 1000.into()),
        spec("/properties/coordinator/pattern", Value::Null),
        spec("/properties/more", serde_json::json!({"type": "string"})),
        spec("/required", serde_json::json!([])),
    ] {
        assert_eq!(told, Vec::<String>::new());
    }
}
