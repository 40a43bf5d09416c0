//! The OpenAPI document as a judge: is this request, or this reply, what the contract says? Knows nothing of the sandbox, so that
//! an adapter can be judged by it as well.

use std::collections::BTreeMap;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// The contract's document, read once.
pub struct Contract {
    document: Value,
}

/// An operation that a method and a path name, with the raw values of the path's parameters.
struct Operation<'a> {
    definition: &'a Value,
    arguments: BTreeMap<String, String>,
}

type Judgement = Result<(), String>;

impl Contract {
    /// Reads the document from the repository.
    pub fn load() -> Contract {
        let text = include_str!("../../openapi/closure-contract-v1.yaml");
        Contract { document: serde_saphyr::from_str(text).expect("the document is YAML") }
    }

    /// The whole document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// All (method, path template) pairs, sorted by template.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
        let paths = self.document["paths"].as_object().expect("paths");
        let pairs = paths.iter().flat_map(|(template, item)| {
            let known = methods.into_iter().filter(|method| item.get(*method).is_some());
            known.map(move |method| (method.to_uppercase(), template.clone()))
        });
        pairs.collect()
    }

    /// Judges a request: an operation of the contract, ids encoded as they must be, the parameters it needs and no other, the
    /// right media type, and exactly a documented body. `path` is relative to the endpoint and may have a query.
    pub fn request(&self, method: &str, path: &str, headers: &HeaderMap, body: &[u8]) -> Judgement {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let operation =
            self.operation(method, path).ok_or_else(|| format!("{method} {path} is not in the contract"))?;
        let query: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut known = Vec::new();
        for parameter in operation.definition["parameters"].as_array().into_iter().flatten() {
            let parameter = self.resolve(parameter);
            let name = parameter["name"].as_str().unwrap_or_default();
            let value = match parameter["in"].as_str() {
                Some("path") => Some(decoded(&operation.arguments[name])?),
                Some("query") => query.get(name).cloned(),
                Some("header") => headers.get(name).map(|value| value.to_str().unwrap_or_default().to_owned()),
                other => return Err(format!("a parameter in {other:?}")),
            };
            known.push(name);
            match value {
                Some(value) => {
                    self.fits(&parameter["schema"], &json!(value)).map_err(|error| format!("{name}: {error}"))?
                }
                None if parameter["required"] == true => return Err(format!("{name} is missing")),
                None => {}
            }
        }
        if let Some(unknown) = query.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("the query has {unknown}"));
        }
        match operation.definition.get("requestBody") {
            Some(wanted) => self.content(wanted, headers, body),
            None if body.is_empty() => Ok(()),
            None => Err("there is a body".to_owned()),
        }
    }

    /// Judges a reply. One to a request that is not in the contract has to be a problem document.
    pub fn reply(&self, method: &str, path: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Judgement {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let response = match self.operation(method, path) {
            Some(operation) => {
                let responses = &operation.definition["responses"];
                self.resolve(responses.get(status.to_string()).unwrap_or(&responses["default"]))
            }
            None => &self.document["components"]["responses"]["Problem"],
        };
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let schema = &self.resolve(header)["schema"];
            let value = headers.get(name).ok_or_else(|| format!("{name} is missing"))?;
            self.fits(schema, &json!(value.to_str().unwrap_or_default()))
                .map_err(|error| format!("{name}: {error}"))?;
        }
        self.content(response, headers, body)
    }

    /// Judges a value by one of the document's named schemas.
    pub fn schema(&self, name: &str, value: &Value) -> Judgement {
        self.fits(&json!({"$ref": format!("#/components/schemas/{name}")}), value)
    }

    /// The object that a reference points to, or the object itself.
    pub fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => {
                let target = reference.strip_prefix('#').and_then(|pointer| self.document.pointer(pointer));
                target.unwrap_or_else(|| panic!("{reference} points nowhere"))
            }
            None => value,
        }
    }

    fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let paths = self.document["paths"].as_object()?;
        paths.iter().find_map(|(template, item)| {
            let definition = item.get(method.to_lowercase())?;
            Some(Operation { definition, arguments: arguments(template, path)? })
        })
    }

    fn content(&self, owner: &Value, headers: &HeaderMap, body: &[u8]) -> Judgement {
        let sent = headers.get("content-type").map_or("", |value| value.to_str().unwrap_or_default());
        let media_type = sent.split(';').next().unwrap_or_default().trim();
        let wanted = owner["content"].get(media_type).ok_or_else(|| format!("the media type is {media_type:?}"))?;
        let body = serde_json::from_slice(body).map_err(|error| format!("the body is not JSON: {error}"))?;
        self.fits(&wanted["schema"], &body)
    }

    fn fits(&self, schema: &Value, value: &Value) -> Judgement {
        let mut schema = schema.clone();
        schema["components"] = self.document["components"].clone();
        let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema);
        let validator = validator.map_err(|error| format!("the schema itself: {error}"))?;
        let errors: Vec<_> =
            validator.iter_errors(value).map(|error| format!("{} {error}", error.instance_path())).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }
}

/// The raw values of a template's parameters in a path, if it fits.
fn arguments(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (wanted, sent): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    if wanted.len() != sent.len() {
        return None;
    }
    let mut arguments = BTreeMap::new();
    for (wanted, sent) in wanted.into_iter().zip(sent) {
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => drop(arguments.insert(name.to_owned(), sent.to_owned())),
            None if wanted == sent => {}
            None => return None,
        }
    }
    Some(arguments)
}

/// The text that a path segment stands for; an error where something is sent bare that has to be encoded.
fn decoded(segment: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                bytes.extend(hex::decode(digits).map_err(|_| format!("{segment:?} has a bad escape"))?);
            }
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => bytes.push(byte),
            byte => return Err(format!("{segment:?} has {:?} that is not encoded", char::from(byte))),
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("{segment:?} is not UTF-8"))
}
