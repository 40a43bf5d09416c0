//! What roles grant an account, and how that differs from what it asked.

use crate::audit::Asked;
use serde_json::Value;
use std::collections::BTreeSet;

/// One right: one verb on one resource, by one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The kind and the name of the role.
    role: String,
    verb: String,
    what: String,
    /// Where; none means everywhere.
    namespace: Option<String>,
    /// The names it is limited to; none means all.
    names: BTreeSet<String>,
}

impl Grant {
    /// The resource, and its group.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether it is a right to do this.
    pub fn covers(&self, asked: &Asked) -> bool {
        self.verb == asked.verb
            && self.what == asked.what
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == asked.namespace)
            && (self.names.is_empty() || self.names.contains(&asked.name))
    }

    /// The same, in every namespace.
    pub fn everywhere(self) -> Grant {
        Grant { namespace: None, ..self }
    }

    /// The same, of every name.
    pub fn of_every_name(self) -> Grant {
        Grant { names: BTreeSet::new(), ..self }
    }
}

/// Verbs that a rule cannot limit to names, or not to any use: a creation has none yet, a list is of all.
const NAMELESS: [&str; 3] = ["create", "list", "watch"];

/// What is wrong between rights and uses: a right that nobody used, one that is wider than its uses, a use without a right.
pub fn differences(grants: &[Grant], used: &[Asked]) -> Vec<String> {
    let mut wrong: BTreeSet<String> = unequal(grants, used).into_iter().collect();
    for grant in grants {
        let Grant { role, verb, what, .. } = grant;
        let uses: Vec<&Asked> = used.iter().filter(|asked| grant.covers(asked)).collect();
        let all = |field: fn(&Asked) -> &String| uses.iter().map(|asked| field(asked)).collect::<BTreeSet<_>>();
        let (namespaces, names) = (all(|asked| &asked.namespace), all(|asked| &asked.name));
        if grant.namespace.is_none() && namespaces.len() == 1 && !namespaces.contains(&String::new()) {
            wrong.insert(format!("{role} grants {verb} {what} everywhere, and it is used in {namespaces:?} alone"));
        }
        // Where it holds in many namespaces, a name alone says nothing.
        let narrow = grant.namespace.is_some() && names.len() == 1;
        if narrow && grant.names.is_empty() && !NAMELESS.contains(&verb.as_str()) {
            wrong.insert(format!("{role} grants {verb} {what} of every name, and it is used for {names:?} alone"));
        }
    }
    wrong.into_iter().collect()
}

/// The same, but for what is wider than its uses.
pub fn unequal(grants: &[Grant], used: &[Asked]) -> Vec<String> {
    let mut wrong = BTreeSet::new();
    for grant in grants {
        let Grant { role, verb, what, .. } = grant;
        let names: BTreeSet<&String> =
            used.iter().filter(|asked| grant.covers(asked)).map(|asked| &asked.name).collect();
        if names.is_empty() {
            wrong.insert(format!("{role} grants {verb} {what}, which is never used"));
            continue;
        }
        for name in grant.names.iter().filter(|name| !names.contains(name)) {
            wrong.insert(format!("{role} grants {verb} {what} {name}, which is never used"));
        }
    }
    for asked in used.iter().filter(|asked| !grants.iter().any(|grant| grant.covers(asked))) {
        let Asked { verb, what, namespace, name, status } = asked;
        wrong.insert(format!("no rule grants {verb} {what} {namespace}/{name}, which was asked for ({status})"));
    }
    wrong.into_iter().collect()
}

/// Every right that bindings give to a service account by its name; roles and bindings are among these objects. A role that is
/// not is one without rights.
pub fn of(account: &str, objects: &[Value]) -> Vec<Grant> {
    let mut grants = Vec::new();
    for binding in
        objects.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("RoleBinding")))
    {
        let ours = |subject: &Value| {
            let name = |field: &str| subject[field].as_str().unwrap_or_default();
            subject["kind"] == "User" && name("name") == account
                || account == format!("system:serviceaccount:{}:{}", name("namespace"), name("name"))
        };
        if !binding["subjects"].as_array().is_some_and(|subjects| subjects.iter().any(ours)) {
            continue;
        }
        let (kind, name) = (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]);
        let namespace = &binding["metadata"]["namespace"];
        let role = objects.iter().find(|object| {
            let metadata = &object["metadata"];
            object["kind"] == *kind
                && metadata["name"] == *name
                && (kind == "ClusterRole" || metadata["namespace"] == *namespace)
        });
        for rule in role.and_then(|role| role["rules"].as_array()).into_iter().flatten() {
            let role = format!("{} {}", kind.as_str().unwrap_or_default(), name.as_str().unwrap_or_default());
            grants.extend(by_rule(&role, namespace.as_str(), rule));
        }
    }
    grants
}

/// The rights of one rule.
pub fn by_rule(role: &str, namespace: Option<&str>, rule: &Value) -> Vec<Grant> {
    let list = |field: &str| -> Vec<String> { serde_json::from_value(rule[field].clone()).unwrap_or_default() };
    let names: BTreeSet<String> = list("resourceNames").into_iter().collect();
    let mut grants = Vec::new();
    for (group, resource) in
        list("apiGroups").iter().flat_map(|group| list("resources").into_iter().map(move |r| (group, r)))
    {
        let what = format!("{resource}.{group}");
        grants.extend(list("verbs").into_iter().map(|verb| Grant {
            role: role.to_owned(),
            verb,
            what: what.clone(),
            namespace: namespace.map(str::to_owned),
            names: names.clone(),
        }));
    }
    grants
}
