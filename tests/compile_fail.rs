//! What cannot be written, because it does not compile. Each file in `compile_fail/` is one attempt; its head says which
//! error must be the only one, by the compiler's code and by a piece of its words.
//!
//! The compiler is called directly, with the library that this very test was built with: a crate that does the same
//! compiles all dependencies once more, which takes minutes.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The library's file, as cargo knows it: nothing is compiled, everything has been for this test.
fn library() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--no-run", "--quiet", "--message-format=json", "--test", "compile_fail"]);
    if cfg!(feature = "nats") {
        cargo.arg("--all-features");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "releaseclosure" && message["target"]["kind"][0] == "lib")
        .filter(|message| message["profile"]["test"] == false)
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.extension().is_some_and(|extension| extension == "rlib"))
        .expect("the library is among what cargo built")
}

/// What the compiler says of a file; none where it compiles.
fn compile(library: &Path, case: &Path) -> Option<String> {
    let directory = library.parent().expect("it is in a directory");
    let dependencies = if directory.ends_with("deps") { directory.to_owned() } else { directory.join("deps") };
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--emit=metadata", "--color=never", "-o"])
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail.rmeta"))
        .arg("--extern")
        .arg(format!("releaseclosure={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", dependencies.display()))
        .arg(case)
        .output()
        .expect("rustc runs");
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_must_not_compile_does_not() {
    let library = library();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(&directory).expect("it is there").map(|entry| entry.expect("readable").path()).collect();
    cases.sort();
    assert!(cases.len() >= 9, "cases are missing");
    for case in cases {
        let name = case.display();
        let text = std::fs::read_to_string(&case).expect("readable");
        let expected = text.lines().find_map(|line| line.strip_prefix("// error "));
        match (compile(&library, &case), expected) {
            (None, None) => assert!(text.contains("\n// compiles\n"), "{name} does not say what is expected of it"),
            (None, Some(_)) => panic!("{name} compiles"),
            (Some(said), None) => panic!("{name} does not compile:\n{said}"),
            (Some(said), Some(expected)) => {
                let (code, words) = expected.split_once(": ").expect("a code and words");
                assert_eq!(said.matches("error[").count(), 1, "{name} fails for more than one reason:\n{said}");
                assert!(said.contains(&format!("error[{code}]")) && said.contains(words), "{name}:\n{said}");
            }
        }
    }
}
