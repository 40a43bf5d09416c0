//! The commands of every page but the guides, which a test of their own runs: what kubectl is told is run on an API server with the
//! examples in it, what Helm is told renders, what our program is told is understood, and what is a file or a target is there.
//!
//! A command stands in a block, or between backticks. `NAMESPACE`, `NAME`, and an ellipsis stand for what a reader has.

use crate::chart::Helm;
use crate::support::controlplane::{ControlPlane, eventually, repository};
use clap::error::ErrorKind;
use releaseclosure::settings::Arguments;
use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Programs that these tests have not, and the pages that speak of them. What they do there is told in words, too.
const NOT_RUN: [(&str, &str); 6] = [
    ("README.md", "podman"),
    ("docs/adapters/a-small-one.md", "git"),
    ("docs/adapters/nats.md", "nats"),
    ("docs/adapters/object-store.md", "aws"),
    ("docs/adapters/oci.md", "oras"),
    ("docs/install.md", "podman"),
];
/// What needs a node, or goes on until it is stopped.
const NEEDS_A_NODE: [&str; 4] = ["logs", "exec", "port-forward", "rollout"];

/// The pages that people read, but for the guides.
fn pages() -> Vec<String> {
    let listed = |folder: &str| {
        let files = std::fs::read_dir(repository(folder)).unwrap().map(|file| file.unwrap().file_name());
        let names = files.map(|name| format!("{folder}/{}", name.into_string().unwrap()));
        names.filter(|name| Path::new(name).extension().is_some_and(|end| end == "md")).collect::<Vec<_>>()
    };
    let folders = ["docs", "docs/adapters", "docs/runbooks"];
    let own = ["README.md", "SECURITY.md", "ARCHITECTURE.md"].map(str::to_owned);
    let mut pages: Vec<String> = folders.iter().flat_map(|folder| listed(folder)).chain(own).collect();
    pages.sort();
    pages
}

/// What a page says to be typed, each a whole line; and whether it is only mentioned.
fn commands(page: &str) -> Vec<(String, bool)> {
    let known = ["kubectl", "releaseclosure", "helm", "make", "podman", "git"];
    let starts = |text: &str| {
        text.split_once(' ').is_some_and(|(program, _)| known.contains(&program)) || text.starts_with("hack/")
    };
    let (mut found, mut fence) = (Vec::new(), None);
    let mut whole = String::new();
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_none() { Some(language) } else { None };
        } else if fence.is_some_and(|language| ["", "sh"].contains(&language)) || line.starts_with("    ") {
            whole.push_str(line.trim());
            let goes_on = whole.strip_suffix('\\').map(str::to_owned);
            if let Some(begun) = goes_on.or_else(|| whole.ends_with('|').then(|| format!("{whole} "))) {
                whole = begun;
                continue;
            }
            let line = std::mem::take(&mut whole);
            if starts(&line) {
                found.push((line, false));
            }
        } else if fence.is_none() {
            found.extend(
                line.split('`').skip(1).step_by(2).filter(|span| starts(span)).map(|span| (span.to_owned(), true)),
            );
        }
    }
    found
}

/// The words of a part of a line, without what a shell would do with them.
fn words(part: &str) -> Vec<String> {
    let part = part.split(" #").next().unwrap_or_default().split(" >").next().unwrap_or_default();
    let (mut words, mut quoted) = (vec![String::new()], None);
    for letter in part.trim().chars() {
        match (letter, quoted) {
            ('\'' | '"', None) => quoted = Some(letter),
            (letter, Some(quote)) if letter == quote => quoted = None,
            (' ', None) => words.push(String::new()),
            (letter, _) => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether our program understands it; what is only mentioned may lack what a reader has.
fn understood(words: &[String], mentioned: bool) -> Result<(), String> {
    // What stands for a name is written in capitals, which no name has.
    let stands_for = |word: &String| word.bytes().all(|byte| byte.is_ascii_uppercase());
    let all = words.iter().map(|word| if stands_for(word) { word.to_lowercase() } else { word.clone() }.into());
    match Arguments::read(all) {
        Err(error) if mentioned && error.kind() == ErrorKind::MissingRequiredArgument => Ok(()),
        Err(error)
            if mentioned && error.kind() == ErrorKind::InvalidValue && error.to_string().contains("but none was") =>
        {
            Ok(())
        }
        Err(error) => Err(error.to_string()),
        Ok(_) => Ok(()),
    }
}

/// A copy of what a checkout has, and kubectl and our program on the `PATH`.
struct Checkout {
    plane: ControlPlane,
    folder: PathBuf,
}

impl Checkout {
    fn new() -> Checkout {
        let plane = ControlPlane::start();
        let folder = plane.kubeconfig().with_file_name("checkout");
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        symlink(plane.kubectl_binary(), folder.join("bin/kubectl")).unwrap();
        for name in ["releaseclosure", "kubectl-releaseclosure"] {
            symlink(env!("CARGO_BIN_EXE_releaseclosure"), folder.join("bin").join(name)).unwrap();
        }
        for part in ["crds", "manifests", "charts", "kustomization.yaml"] {
            let copied = Command::new("cp").arg("-r").arg(repository(part)).arg(&folder).status();
            assert!(copied.unwrap().success());
        }
        let checkout = Checkout { plane, folder };
        checkout.sh("kubectl apply --server-side -k . && kubectl wait --for=condition=Established -f crds/").unwrap();
        eventually("the examples", || checkout.sh("kubectl apply --server-side -k manifests/examples").is_ok());
        let rest = "kubectl create namespace argocd; kubectl -n argocd create configmap argocd-cm
                    kubectl create -f - <<'END'
{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: releaseclosure-operator, namespace: releaseclosure-system}}
---
apiVersion: releaseclosure.io/v1alpha1
kind: ClusterSystemConnection
metadata: {name: tracker}
spec: {namespaceSelector: {}, allowedRoles: [Tracker], http: {endpoint: 'https://tracker.example.com/closure/v1', tokenSecretRef: {name: t, key: t}}}
---
apiVersion: releaseclosure.io/v1alpha1
kind: AcceptanceFeed
metadata: {name: tracker, namespace: payments}
spec: {playbookRef: {name: p}, webhook: {format: GitHub, secretRefs: [{name: w, key: w}]}, template: {coordinator: c}}
END";
        checkout.sh(rest).unwrap();
        checkout
    }

    fn sh(&self, script: &str) -> Result<String, String> {
        let path = format!("{}:{}", self.folder.join("bin").display(), std::env::var("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(&self.folder).stdin(Stdio::null());
        bash.env("PATH", path).env("KUBECONFIG", self.plane.kubeconfig()).env("HOME", &self.folder);
        let ran = bash.output().expect("bash can be run");
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        if ran.status.success() { Ok(said) } else { Err(said) }
    }

    /// What kubectl is told, on this API server. What is deleted stays, for the other commands.
    fn kubectl(&self, line: &str) -> Result<(), String> {
        let line = line.split(" #").next().unwrap_or_default().replace(" delete ", " delete --dry-run=server ");
        let line = line.replace("NAMESPACE", "payments").replace(" NAME", " tracker");
        self.sh(&line).map(drop)
    }

    fn helm(&self, helm: &Helm, words: &[String]) -> Result<(), String> {
        let rest: Vec<&str> = match words.get(1).map(String::as_str) {
            Some("uninstall" | "rollback") => return Ok(()),
            Some("install" | "upgrade") => words.iter().skip(2).map(String::as_str).collect(),
            other => return Err(format!("{other:?} of Helm is not known here")),
        };
        let release = ["releaseclosure", "charts/releaseclosure", "…", "--reuse-values", "--create-namespace"];
        let rest: Vec<String> =
            rest.iter().filter(|word| !release.contains(word)).map(|word| (*word).to_owned()).collect();
        let file = self.folder.join("egress.yaml").display().to_string();
        let rest: Vec<&str> = rest.iter().map(|word| if word == "egress.yaml" { &*file } else { &**word }).collect();
        helm.text(&rest).map(drop)
    }
}

#[test]
fn every_command_of_every_page_does_or_is_at_least_there() {
    let (checkout, helm) = (Checkout::new(), Helm::find());
    let makefile = std::fs::read_to_string(repository("Makefile")).unwrap();
    let (mut wrong, mut unused, mut run) = (Vec::new(), BTreeSet::from(NOT_RUN), 0);
    for page in pages() {
        let text = std::fs::read_to_string(repository(&page)).unwrap();
        unused.retain(|(of, program)| *of != page || !text.contains(&format!("{program} ")));
        for (line, mentioned) in commands(&text) {
            let first = words(&line);
            let result = match first[0].as_str() {
                "make" => {
                    let there = makefile.contains(&format!("\n{}:", first[1]));
                    if there { Ok(()) } else { Err("no such target".to_owned()) }
                }
                program if program.starts_with("hack/") => {
                    if repository(program).is_file() {
                        Ok(())
                    } else {
                        Err("no such file".to_owned())
                    }
                }
                "helm" => helm.as_ref().map_or(Ok(()), |helm| checkout.helm(helm, &first)),
                program if NOT_RUN.contains(&(&*page, program)) => Ok(()),
                "kubectl" | "releaseclosure" => {
                    let parts = line.split(" | ").map(words);
                    let ours = parts.map(|part| part[usize::from(part[0] == "kubectl")..].to_vec());
                    let ours: Vec<_> = ours.filter(|part| part[0] == "releaseclosure").collect();
                    let read = ours.iter().try_for_each(|part| understood(part, mentioned));
                    let lists = !mentioned && ours.iter().all(|part| part[1] == "network-policy");
                    let needs_a_node =
                        first.iter().any(|word| NEEDS_A_NODE.contains(&word.as_str()) || word.contains("/proxy/"));
                    if first[0] == "kubectl" && !needs_a_node && (ours.is_empty() || lists) {
                        run += 1;
                        read.and_then(|()| checkout.kubectl(&line))
                    } else {
                        read
                    }
                }
                _ => Err("nobody has tried it".to_owned()),
            };
            wrong.extend(result.err().map(|why| format!("{page}: {line}\n    {why}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "said by no page: {unused:?}");
    assert!(run > 20, "{run}");
}

#[test]
fn a_page_is_read_as_it_is_meant() {
    let page =
        "`kubectl a` and `other`\n```\nkubectl b |\n  kubectl c   # why\n```\n```yaml\nkubectl: no\n```\n    make d\n";
    let found = [("kubectl a", true), ("kubectl b | kubectl c   # why", false), ("make d", false)];
    assert_eq!(commands(page), found.map(|(line, mentioned)| (line.to_owned(), mentioned)));
    assert_eq!(words("kubectl b -o 'a b' >file # c"), ["kubectl", "b", "-o", "a b"]);
    let read = |line: &str, mentioned| understood(&words(line), mentioned).is_ok();
    assert!(read("releaseclosure wait NAME --timeout 2m", false) && read("releaseclosure resume", true));
    assert!(!read("releaseclosure resume", false) && !read("releaseclosure waits NAME", true));
    assert!(!read("releaseclosure prune --dry-runs", true));
}
