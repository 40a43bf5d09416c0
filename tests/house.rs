//! What holds everywhere in this house: which part may know which, what production code does without, how long a file
//! gets, and what no file speaks of.
//!
//! A rule is a function from a source to what offends it, so that each is shown to bite on a bad snippet, too.

#[path = "house/source.rs"]
mod source;

use source::{Source, files, sources};

/// The directions of ARCHITECTURE.md: a part of the library, and the parts that it may name besides itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("closure", &[]),
    ("roles", &["closure"]),
    ("api", &["closure", "feeds", "products", "roles"]),
    ("feeds", &["closure", "spans"]),
    ("products", &["closure"]),
    ("providers", &["closure", "products", "roles", "spans"]),
    ("drive", &["closure", "roles"]),
    (
        "controller",
        &[
            "api",
            "closure",
            "drive",
            "feeds",
            "health",
            "lease",
            "providers",
            "roles",
            "settings",
            "shards",
            "spans",
            "telemetry",
        ],
    ),
    ("lease", &["shards"]),
    ("shards", &[]),
    ("spans", &[]),
    ("telemetry", &["closure", "feeds", "spans"]),
    ("health", &["telemetry"]),
    ("settings", &["closure", "lease", "sandbox", "shards"]),
    ("people", &["api", "closure", "settings"]),
    ("sandbox", &[]),
];

/// What a part may not name of what others wrote, and why.
const MAY_NOT_NAME: &[(&str, &[&str], &str)] = &[
    (
        "closure",
        &[
            "kube",
            "k8s_openapi",
            "reqwest",
            "axum",
            "tokio",
            "futures",
            "tracing",
            "fastrand",
            "rustix",
            "std::time::SystemTime",
            "std::time::Instant",
            "std::env",
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
        ],
        "the core takes values and gives values",
    ),
    ("roles", &["kube", "k8s_openapi", "reqwest", "axum"], "a role is a trait, whatever is behind it"),
    ("providers", &["kube", "k8s_openapi"], "an adapter knows systems, not Kubernetes"),
    (
        "feeds",
        &["kube", "k8s_openapi", "reqwest"],
        "an event is a hint: who sent it and what it names, nothing of a cluster",
    ),
    ("drive", &["kube", "k8s_openapi", "reqwest", "axum"], "the loop knows a host and roles, whoever plays them"),
    ("controller", &["reqwest", "axum"], "the controller speaks to roles"),
    ("telemetry", &["kube", "k8s_openapi"], "labels come from closed sets, not from objects"),
];

/// A source that may be longer than 450 lines, and how long at most: each is to be split.
const LONG: &[(&str, usize)] = &[
    ("core/src/decide.rs", 480),
    ("core/src/ledger.rs", 500),
    ("tests/cluster/stage.rs", 550),
    ("tests/simulation/host.rs", 580),
];

/// Parts of the library name only those that they may.
fn directions(source: &Source) -> Vec<String> {
    let Some(part) = source.part() else { return Vec::new() };
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == part) else {
        return vec![format!("{part} is not in MAY_NAME: which parts may it name?")];
    };
    let forbidden = MAY_NOT_NAME.iter().filter(|(name, ..)| *name == part);
    let foreign = forbidden.flat_map(|(_, paths, why)| paths.iter().map(move |path| (path, why)));
    let mut offences = Vec::new();
    for path in &source.paths {
        if let Some(ours) = path.strip_prefix("crate::").and_then(|rest| rest.split("::").next())
            && ours != part
            && MAY_NAME.iter().any(|(name, _)| *name == ours)
            && !allowed.contains(&ours)
        {
            offences.push(format!("{part} may not name {path}"));
        }
        for (prefix, why) in foreign.clone() {
            if path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("::")) {
                offences.push(format!("{part} may not name {path}: {why}"));
            }
        }
    }
    offences
}

/// The core has no clock, not even through a type that it may know.
fn no_clock(source: &Source) -> Vec<String> {
    let clocks = ["Timestamp::now", "Instant::now", "SystemTime::now", "Zoned::now"];
    let core = source.part() == Some("closure");
    let found = source.paths.iter().filter(|path| core && clocks.iter().any(|clock| path.ends_with(clock)));
    found.map(|path| format!("the core may not call {path}: the time is an argument")).collect()
}

/// Only one module knows the HTTP client, and only the adapters what is above it. Another one hands spans to the collector that
/// the environment names, with a client that no system is spoken to with.
fn one_client(source: &Source) -> Vec<String> {
    let production = source.path.starts_with("src/");
    let may_send = !production || ["src/providers/rest/network.rs", "src/spans/export.rs"].contains(&&*source.path);
    let may_replace = !production || source.path.starts_with("src/providers/");
    let client = |path: &&String| *path == "reqwest" || path.starts_with("reqwest::");
    let seam = |path: &&String| path.contains("rest::transport") || path.ends_with("http::connect_over");
    let clients = source.paths.iter().filter(|path| !may_send && client(path));
    let seams = source.paths.iter().filter(|path| !may_replace && seam(path));
    let clients = clients.map(|path| format!("only src/providers/rest/network.rs may name {path}"));
    clients.chain(seams.map(|path| format!("only src/providers may name {path}"))).collect()
}

/// The controller knows roles, not products.
fn no_product(source: &Source) -> Vec<String> {
    if source.part() != Some("controller") {
        return Vec::new();
    }
    let product = |path: &&String| {
        let module = path.strip_prefix("crate::providers::").and_then(|rest| rest.split("::").next());
        let variant = path.split_once("Product::").map(|(_, variant)| variant);
        module.is_some_and(|module| products().iter().any(|product| product == module))
            || variant.is_some_and(|variant| variant.starts_with(char::is_uppercase))
    };
    source.paths.iter().filter(product).map(|path| format!("the controller may not name the product {path}")).collect()
}

/// The modules of products: every one below providers/ that is not a tool of all of them.
fn products() -> Vec<String> {
    let tools = ["breaker", "guard", "limits", "meter", "mod", "rest"];
    let of = |path: &str| {
        let rest = path.strip_prefix("src/providers/")?;
        Some(rest.split(['/', '.']).next()?.to_owned())
    };
    let mut products: Vec<String> = files().iter().filter_map(|file| of(file)).collect();
    products.sort();
    products.dedup();
    products.retain(|product| !tools.contains(&product.as_str()));
    products
}

/// Nothing that ends the process because something was not foreseen.
fn no_panic(source: &Source) -> Vec<String> {
    let production = source.part().is_some() || source.path.starts_with("src/");
    source.panics.iter().filter(|_| production).map(|call| format!("{call} outside tests")).collect()
}

/// A file that outgrows its reader is two ideas.
fn short(source: &Source) -> Vec<String> {
    let limit = LONG.iter().find(|(path, _)| *path == source.path).map_or(450, |(_, lines)| *lines);
    let long = source.lines > limit;
    long.then(|| format!("{} lines, and the limit is {limit}", source.lines)).into_iter().collect()
}

/// Words that say where or by whom a text was written, instead of what it is about. Cut in two, so that this file does
/// not hold them.
const UNSPOKEN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/home", "/"),
    concat!("/Us", "ers/"),
    concat!("../", "shared"),
    concat!("as an ", "AI"),
    concat!("language ", "model"),
    concat!("coding ", "agent"),
    concat!("Anth", "ropic"),
    concat!("Open", "AI"),
    concat!("this ", "session"),
    concat!("earlier ", "session"),
    concat!("previous ", "session"),
    concat!("TO", "DO:"),
    concat!("FIX", "ME"),
];

fn unspoken(text: &str) -> Vec<String> {
    let found = UNSPOKEN.iter().filter(|word| text.contains(**word));
    found.map(|word| format!("speaks of {word:?}")).collect()
}

#[test]
fn every_source_keeps_the_rules() {
    let sources = sources();
    assert!(sources.len() > 50, "the sources were not found");
    let rules = [directions, no_clock, one_client, no_product, no_panic, short];
    let offences: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            rules.iter().flat_map(|rule| rule(source)).map(|offence| format!("{}: {offence}", source.path))
        })
        .collect();
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn no_file_speaks_of_what_is_not_its_subject() {
    let mut offences = Vec::new();
    for file in files() {
        // Lock files and licences are others' words; a picture has none.
        if file.ends_with(".lock") || file.ends_with(".sum") || file == "LICENSE" {
            continue;
        }
        if let Ok(text) = std::fs::read_to_string(source::repository().join(&file)) {
            offences.extend(unspoken(&text).into_iter().map(|offence| format!("{file}: {offence}")));
        }
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn every_part_of_the_library_has_its_directions() {
    let parts: Vec<String> = sources().iter().filter_map(|source| source.part().map(str::to_owned)).collect();
    for (name, allowed) in MAY_NAME {
        assert!(parts.iter().any(|part| part == name), "{name} is in MAY_NAME and not in src/");
        for other in *allowed {
            assert!(MAY_NAME.iter().any(|(part, _)| part == other), "{other} is no part");
        }
    }
}

fn at(path: &str, text: &str) -> Source {
    Source::parse(path, text).expect("it is Rust")
}

#[test]
fn directions_bite() {
    for (path, text) in [
        ("core/src/checks.rs", "fn f(x: kube::Client) {}"),
        ("core/src/a/b.rs", "use std::{fmt, time::{Duration, Instant}};"),
        ("core/src/checks.rs", "use std::time as t; use std::time::SystemTime;"),
        ("src/roles.rs", "use crate::api;"),
        ("src/api/mod.rs", "use crate::controller::run;"),
        ("src/providers/http/mod.rs", "pub use kube::Api as _;"),
        ("src/providers/http/mod.rs", "use crate::api::conditions;"),
        ("src/controller/act.rs", "use crate::people::wait;"),
        ("src/controller/act.rs", "fn f() { ::reqwest::get(); }"),
        ("src/new_part.rs", ""),
    ] {
        assert!(!directions(&at(path, text)).is_empty(), "{path}: {text}");
    }
    for (path, text) in [
        ("core/src/checks.rs", "use std::time::Duration; use jiff::Timestamp; use super::ids;"),
        ("core/src/checks.rs", "// use kube::Client;\n/// [`crate::api`]\nconst X: &str = \"kube::Client\";"),
        ("core/src/checks.rs", "#[cfg(test)] mod tests { use crate::api::X; } fn f() {}"),
        ("core/src/checks.rs", "#[cfg(test)] use crate::api::X; use super::ids;"),
        ("core/src/checks_tests.rs", "use crate::api::X;"),
        ("src/controller/act.rs", "use crate::roles::{Tracker, Queue}; use kube::Client;"),
        ("src/main.rs", "use releaseclosure::controller;"),
    ] {
        assert_eq!(directions(&at(path, text)), [] as [&str; 0], "{path}: {text}");
    }
}

#[test]
fn the_other_rules_bite() {
    assert!(!no_clock(&at("core/src/halt.rs", "fn f() { jiff::Timestamp::now(); }")).is_empty());
    assert!(no_clock(&at("src/controller/act.rs", "fn f() { Timestamp::now(); }")).is_empty());
    assert!(!one_client(&at("src/controller/act.rs", "use reqwest::Client;")).is_empty());
    assert!(!one_client(&at("src/providers/guard.rs", "fn f(c: reqwest::Client) {}")).is_empty());
    assert!(!one_client(&at("src/providers/rest/client.rs", "use reqwest::Client;")).is_empty());
    assert!(one_client(&at("src/spans/export.rs", "use reqwest::blocking::Client;")).is_empty());
    assert!(!one_client(&at("src/spans/mod.rs", "use reqwest::blocking::Client;")).is_empty());
    assert!(one_client(&at("src/providers/rest/network.rs", "use reqwest::Client;")).is_empty());
    assert!(!one_client(&at("src/controller/pass.rs", "use crate::providers::rest::transport::Transport;")).is_empty());
    assert!(!one_client(&at("src/controller/pass.rs", "fn f() { http::connect_over(); }")).is_empty());
    assert!(!no_product(&at("src/controller/act.rs", "use crate::providers::http::Http;")).is_empty());
    assert!(!no_product(&at("src/controller/act.rs", "fn f() { Product::Http {}; }")).is_empty());
    assert!(no_product(&at("src/controller/act.rs", "use crate::providers::{Product, Settings};")).is_empty());
    assert!(no_product(&at("src/controller/act.rs", "fn f() { Product::of_spec(); }")).is_empty());
    assert!(products().iter().any(|product| product == "http"));
    for text in ["x.unwrap()", "panic!(\"no\")", "todo!()", "unimplemented!()", "x . unwrap ( )", "x.expect(\"so\")"] {
        assert!(!no_panic(&at("src/api/mod.rs", &format!("fn f() {{ {text}; }}"))).is_empty(), "{text}");
    }
    for text in ["x.unwrap_or(1)", "std::panic::catch_unwind(f)", "x.expect_err()", "\"panic!()\""] {
        assert!(no_panic(&at("src/api/mod.rs", &format!("fn f() {{ {text}; }}"))).is_empty(), "{text}");
    }
    assert!(no_panic(&at("src/api/mod.rs", "#[cfg(test)]\nmod tests { fn f() { x.unwrap(); } }")).is_empty());
    assert!(!short(&at("src/api/mod.rs", &"\n".repeat(451))).is_empty());
    assert!(!short(&at("core/src/decide.rs", &"\n".repeat(481))).is_empty());
    assert!(!unspoken(concat!("see /wo", "rk/main")).is_empty());
}
