//! All that is shipped at once, as kustomize and Helm render it; and that each selector in it selects what it is meant for.

use crate::chart::Helm;
use crate::support::controlplane::{kustomized, repository};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// Values of the chart that add all there is to add.
pub const ALL_VALUES: [&str; 2] = [
    "--set=feeds.enabled=true,retention.enabled=true,shards=4,policies.fillInResolvedBy=true,roles.editSubmits=true",
    "--set=traces.endpoint=http://otel-collector.observability.svc:4318",
];

/// By kind, namespace and name.
pub type Objects = BTreeMap<(String, String, String), Value>;

/// The objects of some documents. One that is there twice fails the test.
pub fn objects(yaml: &str) -> Objects {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("YAML");
    let all = documents.into_iter().filter(Value::is_object).map(|object| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of = &object["metadata"];
        ((text(&object["kind"]), text(&of["namespace"]), text(&of["name"])), object)
    });
    let (count, map) = all.fold((0, BTreeMap::new()), |(count, mut map), (key, object)| {
        map.insert(key, object);
        (count + 1, map)
    });
    assert_eq!(map.len(), count, "an object is there twice");
    map
}

/// The definitions and `manifests/base` with these components, as kustomize renders them.
pub fn with(components: &[&str]) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("overlay-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let overlay = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&overlay).unwrap();
    // Kustomize takes no absolute path.
    let up: PathBuf = overlay.strip_prefix("/").unwrap().components().map(|_| "..").collect();
    let at = |part: &str| up.join(repository(part).strip_prefix("/").unwrap()).display().to_string();
    let mut resources = vec![at("manifests/base")];
    // Nor a file of another folder.
    for file in std::fs::read_dir(repository("crds")).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), overlay.join(file.file_name())).unwrap();
        resources.push(file.file_name().into_string().unwrap());
    }
    let components: Vec<String> = components.iter().map(|name| at(&format!("manifests/components/{name}"))).collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": resources, "components": components,
    });
    std::fs::write(overlay.join("kustomization.yaml"), kustomization.to_string()).unwrap();
    let built = kustomized(&overlay);
    std::fs::remove_dir_all(&overlay).unwrap();
    built
}

/// The same with every component but those that are for a namespace of somebody else.
pub fn with_all() -> String {
    let all = std::fs::read_dir(repository("manifests/components")).unwrap();
    let names = all.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.filter(|name| !name.starts_with("open-namespace-")).collect();
    assert!(names.len() > 5, "{names:?}");
    with(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Everything as both render it, by whom.
pub fn everything() -> Vec<(&'static str, String)> {
    let chart = Helm::find().map(|helm| ("the chart", helm.text(&ALL_VALUES).unwrap()));
    [("the manifests", with_all())].into_iter().chain(chart).collect()
}

/// The Pods that something makes, each by its first container's name, with its labels.
fn pods(all: &Objects) -> BTreeMap<String, Value> {
    let paths = ["/spec/template", "/spec/jobTemplate/spec/template"];
    let templates = all.values().flat_map(|object| paths.iter().filter_map(|path| object.pointer(path)));
    let pod = |pod: &Value| {
        (pod["spec"]["containers"][0]["name"].as_str().unwrap().to_owned(), pod["metadata"]["labels"].clone())
    };
    templates.map(pod).collect()
}

/// Whom each selector of an object is about, by its place.
fn selectors(object: &Value) -> Vec<(&'static str, &Value)> {
    let affinity = "/spec/template/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0\
                    /podAffinityTerm/labelSelector/matchLabels";
    let own: &[&str] = match object["kind"].as_str().unwrap() {
        "Service" => &["/spec/selector"],
        "PodDisruptionBudget" => &["/spec/selector/matchLabels"],
        "Deployment" => &["/spec/selector/matchLabels", affinity],
        "NetworkPolicy" => &["/spec/podSelector"],
        _ => &[],
    };
    let labels = |place: &'static str| (place, object.pointer(place).expect("a selector"));
    own.iter().map(|place| labels(place)).collect()
}

#[test]
fn each_selector_selects_the_pods_that_it_is_meant_for_and_no_other() {
    for (whose, text) in everything() {
        let all = objects(&text);
        let pods = pods(&all);
        assert_eq!(pods.keys().collect::<Vec<_>>(), ["operator", "prune"], "{whose}");
        let mut seen = BTreeSet::new();
        for ((kind, _, name), object) in &all {
            for (place, selector) in selectors(object) {
                let labels = selector.get("matchLabels").unwrap_or(selector).as_object().unwrap();
                let of = |pod: &Value| labels.iter().all(|(key, value)| pod.get(key) == Some(value));
                let selected: Vec<&str> = pods.iter().filter(|(_, pod)| of(pod)).map(|(pod, _)| pod.as_str()).collect();
                let expected: &[&str] = match name.as_str() {
                    "releaseclosure-default-deny" => &["operator", "prune"],
                    "releaseclosure-pruner" => &["prune"],
                    _ => &["operator"],
                };
                assert_eq!(selected, expected, "{place} of {kind} {name} of {whose}");
                seen.insert(kind.as_str());
            }
        }
        assert_eq!(seen, ["Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"].into(), "{whose}");
    }
}
