//! Objects of any kind, by the administrator's client in this process: a kubectl for each takes the machine longer than what
//! most tests are about.

use super::controlplane::{ControlPlane, repository};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// How long a wait goes on before it fails its test: far longer than anything should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A client for the administrator, of this test's own runtime.
pub async fn client(plane: &ControlPlane) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let kubeconfig = kube::config::Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    Client::try_from(kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap()).unwrap()
}

/// Does something with a client for the administrator where there is no runtime, or where its threads may not wait.
pub fn at_once<T: Send>(plane: &ControlPlane, work: impl AsyncFnOnce(Client) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { work(client(plane).await).await })
        };
        scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Applies objects one after the other, as `kubectl apply --server-side --force-conflicts` does. Each says its namespace where it
/// is in one.
pub async fn apply(client: &Client, objects: &[Value]) {
    for object in objects {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let (Some(version), Some(kind), Some(name)) = (text("/apiVersion"), text("/kind"), text("/metadata/name"))
        else {
            panic!("no object: {object}");
        };
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let how = PatchParams::apply("kubectl").force().validation_strict();
        let applied = of(client, &resource, text("/metadata/namespace")).patch(name, &how, &Patch::Apply(object)).await;
        applied.unwrap_or_else(|error| panic!("{kind} {name} is not let in: {error}"));
    }
}

/// The objects of YAML documents.
pub fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).expect("YAML")
}

/// Installs the definitions below `crds/`, and waits until their kinds are served.
pub async fn install_crds(client: &Client) {
    let mut files: Vec<_> = std::fs::read_dir(repository("crds")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    for file in files {
        apply(client, &documents(&std::fs::read_to_string(file).unwrap())).await;
    }
    for (kind, ..) in KINDS.iter() {
        let start = Instant::now();
        while let Err(error) = named(client, kind, "default").list(&ListParams::default()).await {
            assert!(start.elapsed() < PATIENCE, "{kind} is not served: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A kubeconfig for a ServiceAccount, with a token of its own.
pub async fn kubeconfig(plane: &ControlPlane, client: &Client, namespace: &str, account: &str) -> Value {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let hours = TokenRequestSpec { expiration_seconds: Some(3 * 60 * 60), ..TokenRequestSpec::default() };
    let wanted = TokenRequest { spec: Some(hours), ..TokenRequest::default() };
    let made = accounts.create_token_request(account, &PostParams::default(), &wanted).await.expect("a token");
    let text = std::fs::read_to_string(plane.kubeconfig()).expect("a kubeconfig");
    let mut config: Value = serde_saphyr::from_str(&text).expect("YAML");
    config["users"][0]["user"] = json!({"token": made.status.expect("a token").token});
    config
}

/// One of this project's kinds: as kubectl calls it, what it is to the API server, and whether it is of a namespace.
type Kind = (String, ApiResource, bool);
// Schemas take long to make.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let kind = |definition: CustomResourceDefinition| {
        let spec = definition.spec;
        let version = spec.versions.iter().find(|version| version.storage).expect("a stored version");
        let kind = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &spec.names.plural);
        (spec.names.singular.expect("a name"), resource, spec.scope == "Namespaced")
    };
    releaseclosure::api::crds().into_iter().map(kind).collect()
});

/// The objects of one of this project's kinds, as kubectl calls it: `closureplaybook`. Those of a namespace where the kind has one.
pub fn named(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let (_, resource, is_namespaced) = KINDS.iter().find(|(name, ..)| name == kind).expect("one of our kinds");
    of(client, resource, is_namespaced.then_some(namespace))
}

fn of(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// The status and the reason of an object's Ready, where it is of what the object says now.
pub fn ready(object: &DynamicObject) -> Option<(String, String)> {
    let status = &object.data["status"];
    if status["observedGeneration"].as_i64() != object.metadata.generation {
        return None;
    }
    let mut conditions = status["conditions"].as_array()?.iter();
    let found = conditions.find(|condition| condition["type"] == "Ready")?;
    Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
}

/// Waits until it is so of the Ready of one object.
pub async fn until(api: &Api<DynamicObject>, name: &str, so: impl Fn(Option<(String, String)>) -> bool) {
    poll(api, &ListParams::default().fields(&format!("metadata.name={name}")), so).await;
}

/// Waits until it is so of the Ready of all objects there are, of which there is one at least.
pub async fn until_all(api: &Api<DynamicObject>, so: impl Fn(Option<(String, String)>) -> bool) {
    poll(api, &ListParams::default(), so).await;
}

async fn poll(api: &Api<DynamicObject>, which: &ListParams, so: impl Fn(Option<(String, String)>) -> bool) {
    let start = Instant::now();
    loop {
        let found = api.list(which).await.expect("a list").items;
        if !found.is_empty() && found.iter().all(|object| so(ready(object))) {
            return;
        }
        let shown = || serde_json::to_string_pretty(&found).unwrap();
        assert!(start.elapsed() < PATIENCE, "{}: {}", api.resource_url(), shown());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
