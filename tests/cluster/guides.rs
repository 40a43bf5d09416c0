//! The guides in `docs/guides`, each command of which is run as a reader would run it, in one cluster from its installation to
//! its removal.
//!
//! A block of the language `sh` is a script. A comment before it may say how it exits (`<!-- test: exits with 2 -->`, else 0) and
//! what it prints (`prints …`). `<!-- test does: … -->` is what somebody does elsewhere, in a system.

use crate::operators::{Operator, Start};
use crate::support::controlplane::{ControlPlane, repository};
use releaseclosure::sandbox::{self, Config, Seed};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a guide says, in its order.
#[derive(Debug, PartialEq)]
enum Piece {
    /// A script, its exit code, and what it prints among other things.
    Script(String, i32, Option<String>),
    OperatorStarts,
    OtherGuides,
}

/// Reads a guide. Whatever is meant for this test and is not understood fails it.
fn pieces(guide: &str) -> Vec<Piece> {
    let (mut pieces, mut exit, mut prints) = (Vec::new(), 0, None);
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if let Some(said) = line.strip_prefix("<!-- test").and_then(|said| said.strip_suffix(" -->")) {
            match said {
                ": the operator starts" => pieces.push(Piece::OperatorStarts),
                ": the other guides" => pieces.push(Piece::OtherGuides),
                said => match (said.strip_prefix(" does: "), said.strip_prefix(": ")) {
                    (Some(deed), _) => pieces.push(Piece::Script(deed.to_owned(), 0, None)),
                    (None, Some(expected)) => {
                        for part in expected.split("; ") {
                            match (part.strip_prefix("exits with "), part.strip_prefix("prints ")) {
                                (Some(code), _) => exit = code.parse().expect("an exit code"),
                                (None, Some(text)) => prints = Some(text.to_owned()),
                                (None, None) => panic!("{line}"),
                            }
                        }
                    }
                    (None, None) => panic!("{line}"),
                },
            }
        } else if line == "```sh" {
            let script: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            pieces.push(Piece::Script(script.join("\n"), std::mem::take(&mut exit), prints.take()));
        } else {
            assert!(!line.contains("<!-- test") && !line.starts_with("```console"), "{line}");
            assert!(line.is_empty() || (exit == 0 && prints.is_none()), "nothing follows a comment before {line}");
        }
    }
    pieces
}

/// A reader: with a copy of what is installed, and kubectl and the program on the `PATH`.
struct Reader {
    plane: ControlPlane,
    folder: PathBuf,
    systems: String,
    operator: Option<Operator>,
}

impl Reader {
    fn new(plane: ControlPlane, systems: String) -> Reader {
        let folder = plane.kubeconfig().with_file_name("reader");
        std::fs::create_dir_all(folder.join("bin")).expect("a folder");
        for (name, target) in [
            ("kubectl", plane.kubectl_binary()),
            ("releaseclosure", env!("CARGO_BIN_EXE_releaseclosure").into()),
            ("kubectl-releaseclosure", env!("CARGO_BIN_EXE_releaseclosure").into()),
        ] {
            symlink(target, folder.join("bin").join(name)).expect("a link");
        }
        let reader = Reader { plane, folder, systems, operator: None };
        let root = repository(".");
        for part in ["crds", "manifests", "kustomization.yaml"] {
            let copied = Command::new("cp").arg("-r").arg(root.join(part)).arg(&reader.folder).status();
            assert!(copied.expect("cp can be run").success());
        }
        // The examples' sandbox listens at a port of its own here.
        for file in ["connections.yaml", "for-many.yaml"] {
            let file = reader.folder.join("manifests/examples").join(file);
            let text = std::fs::read_to_string(&file).expect("readable");
            std::fs::write(&file, text.replace("http://127.0.0.1:8085", &reader.systems)).expect("writable");
        }
        reader
    }

    fn read(&mut self, guide: &str) {
        let text = std::fs::read_to_string(repository("docs/guides").join(guide)).expect("readable");
        for piece in pieces(&text) {
            match piece {
                Piece::Script(script, exit, prints) => self.run(&script, exit, prints.as_deref()),
                Piece::OperatorStarts => {
                    self.operator = Some(Operator::installed(&self.plane, Start::default()).up());
                }
                Piece::OtherGuides => ["pipeline.md", "coordinator.md"].iter().for_each(|other| self.read(other)),
            }
        }
    }

    fn run(&self, script: &str, exit: i32, prints: Option<&str>) {
        let path = std::env::var("PATH").unwrap_or_default();
        let ran = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(&self.folder)
            .env("PATH", format!("{}:{path}", self.folder.join("bin").display()))
            .env("KUBECONFIG", self.plane.kubeconfig())
            .env("HOME", &self.folder)
            .env("SYSTEMS", &self.systems)
            .stdin(Stdio::null())
            .output()
            .expect("bash can be run");
        let said = String::from_utf8_lossy(&[ran.stdout, ran.stderr].concat()).into_owned();
        let operator = || self.operator.as_ref().map(Operator::read_log).unwrap_or_default();
        assert_eq!(ran.status.code(), Some(exit), "{script}\n--- says\n{said}\n--- the operator\n{}", operator());
        assert!(prints.is_none_or(|text| said.contains(text)), "{prints:?} is not what\n{script}\n--- says\n{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_guides_does_what_they_say() {
    let seed: Seed = serde_saphyr::from_str(
        &std::fs::read_to_string(repository("manifests/examples/sandbox-seed.yaml")).expect("readable"),
    )
    .expect("a seed");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let handle = sandbox::start(Config { seed, ..Config::default() }, listener).await.unwrap();
    let endpoint = handle.endpoint();
    let systems = endpoint.strip_suffix(sandbox::PREFIX).expect("the contract's prefix").to_owned();
    tokio::task::spawn_blocking(|| {
        let mut reader = Reader::new(ControlPlane::start(), systems);
        reader.read("admin.md");
        let left = reader.plane.kubectl(&["get", "crds", "-o", "name"]);
        assert!(!left.contains("releaseclosure.io"), "{left}");
        let export = std::fs::read_to_string(reader.folder.join("releaseclosure-export.yaml")).expect("exported");
        assert_eq!(export.matches("kind: ReleaseClosure\n").count(), 4);
    })
    .await
    .unwrap();
    // Three were closed, each announced once, and one was given up.
    assert_eq!(handle.sandbox().deliveries().len(), 3);
}

#[test]
fn a_guide_is_read_as_it_is_meant() {
    let guide = "a\n\n<!-- test: exits with 2; prints x y -->\n```sh\none\ntwo\n```\n\n<!-- test: the operator starts -->\n\
                 <!-- test does: three -->\n```yaml\nno: script\n```\n```sh\nfour\n```\n";
    let script = |text: &str, exit, prints: Option<&str>| Piece::Script(text.into(), exit, prints.map(str::to_owned));
    assert_eq!(
        pieces(guide),
        [script("one\ntwo", 2, Some("x y")), Piece::OperatorStarts, script("three", 0, None), script("four", 0, None)]
    );
    for unclear in ["<!-- test: exists with 2 -->", "<!-- test: exits with 2 -->\ntext", "a <!-- test: prints x -->"] {
        let read = std::panic::catch_unwind(|| pieces(unclear));
        assert!(read.is_err(), "{unclear}");
    }
    let pages = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides")).expect("the guides");
    assert_eq!(pages.count(), 3, "a guide that is read by nobody");
}
