//! The kept faults of `proofs/mutants`: each says what it is, applies, and is in the table. That each is killed as it
//! says, `hack/mutants` shows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a fault says of itself.
struct Fault {
    name: String,
    fault: String,
    breaks: String,
    killed_by: Vec<String>,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn patches() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(repository().join("proofs/mutants")).expect("the folder of faults");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    // In the order of their numbers.
    files.sort_by_key(|file| (number(file).len(), file.clone()));
    assert!(files.iter().all(|file| file.extension().is_some_and(|end| end == "patch")), "{files:?}");
    files
}

/// What a file's name begins with.
fn number(file: &Path) -> String {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    name.split('-').next().unwrap_or_default().to_owned()
}

/// Reads the lines before the diff: each is a field, and there is no other.
fn read(file: &Path) -> Result<Fault, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let number = number(file);
    if !(2..=3).contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its name begins with two or three digits and a dash".to_owned());
    }
    let (head, diff) = text.split_once("\n\n").ok_or("an empty line stands before the diff")?;
    if !diff.starts_with("diff --git a/") {
        return Err("behind the empty line comes the diff".to_owned());
    }
    let (mut faults, mut broken, mut killed_by) = (Vec::new(), Vec::new(), Vec::new());
    for line in head.lines() {
        match line.split_once(": ") {
            Some(("Fault", what)) => faults.push(what.to_owned()),
            Some(("Breaks", what)) => broken.push(what.to_owned()),
            Some(("Killed-by", what))
                if what.split_once(' ').is_some_and(|(stage, text)| !stage.is_empty() && !text.is_empty()) =>
            {
                killed_by.push(what.to_owned());
            }
            _ => return Err(format!("{line:?} is no field of a fault")),
        }
    }
    match (&faults[..], &broken[..], &killed_by[..]) {
        ([fault], [breaks], [_, ..]) if !format!("{fault}{breaks}{killed_by:?}").contains('|') => {
            Ok(Fault { name, fault: fault.clone(), breaks: breaks.clone(), killed_by })
        }
        _ => Err("one Fault, one Breaks and at least one Killed-by, without a |".to_owned()),
    }
}

#[test]
fn every_fault_says_what_it_is_and_applies() {
    let patches = patches();
    assert!(patches.len() >= 20, "the faults were not found");
    let mut numbers = BTreeSet::new();
    for file in &patches {
        let fault = read(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
        assert!(numbers.insert(number(file)), "{}: its number is taken", fault.name);
        let check =
            Command::new("git").args(["apply", "--check"]).arg(file).current_dir(repository()).output().unwrap();
        assert!(check.status.success(), "{}: {}", fault.name, String::from_utf8_lossy(&check.stderr));
    }
}

/// The proofs that must kill it, all of them; of one proof one of its texts is enough.
fn killers(killed_by: &[String]) -> String {
    let stages = killed_by.chunk_by(|one, other| stage(one) == stage(other));
    let stages = stages.map(|texts| texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or "));
    stages.collect::<Vec<_>>().join("; ")
}

/// What runs on its own: one of the stages that all faults go through, or the tests of a target that are named so.
fn stage(killer: &str) -> &str {
    let name = killer.split(' ').next().unwrap_or_default();
    if ["core", "model", "lib", "simulation"].contains(&name) { name } else { killer }
}

/// The table that people read is what the faults say. `UPDATE_MUTANTS=1` writes it.
#[test]
fn the_table_is_that_of_the_faults() {
    let mut table = String::from(
        "# Faults that the proofs notice\n\n\
         Each is a patch of `proofs/mutants`. `hack/mutants` applies one after the other, runs the proofs from the cheapest to\n\
         the dearest, and fails where one survives, does not compile, or is noticed by another proof than it names. With\n\
         `--every-stage` each proof that is named must notice on its own.\n\n\
         | fault | what is wrong | what it breaks | what notices |\n|---|---|---|---|\n",
    );
    for file in patches() {
        let Fault { name, fault, breaks, killed_by } = read(&file).unwrap();
        table.push_str(&format!("| {name} | {fault} | {breaks} | {} |\n", killers(&killed_by)));
    }
    let kept = repository().join("docs/mutants.md");
    if std::env::var_os("UPDATE_MUTANTS").is_some() {
        std::fs::write(&kept, &table).unwrap();
    }
    let kept = std::fs::read_to_string(kept).unwrap_or_default();
    assert_eq!(kept, table, "UPDATE_MUTANTS=1 cargo test --test mutants writes it anew");
}

#[test]
fn a_fault_that_does_not_say_what_it_is_is_told() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let told = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        read(&file).err()
    };
    let whole = "Fault: a\nBreaks: b\nKilled-by: lib c\n\ndiff --git a/x b/x\n";
    assert_eq!(told("01-a.patch", whole), None);
    assert!(told("a.patch", whole).is_some());
    for missing in ["Fault: a\n", "Breaks: b\n", "Killed-by: lib c\n", "\n\n", "diff --git a/"] {
        assert!(told("01-a.patch", &whole.replace(missing, "")).is_some(), "{missing}");
    }
    for (part, other) in
        [("lib c", "lib"), ("Fault", "Fehler"), (": b", ": b|c"), ("Breaks: b", "Breaks: b\nBreaks: c")]
    {
        assert!(told("01-a.patch", &whole.replace(part, other)).is_some(), "{other}");
    }
}

/// The example of the guide for adapters. That it compiles and passes its suite, `hack/proof adapter` shows.
#[test]
fn the_adapter_of_the_guide_applies_and_is_what_the_guide_says() {
    let folder = repository().join("docs/adapters");
    let (patch, guide) = (folder.join("a-small-one.patch"), folder.join("a-small-one.md"));
    let check = Command::new("git").args(["apply", "--check"]).arg(&patch).current_dir(repository()).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    let [patch, guide] = [patch, guide].map(|file| std::fs::read_to_string(file).unwrap());
    let added: Vec<&str> = patch.lines().filter_map(|line| line.strip_prefix('+')).collect();
    let added = added.join("\n");
    let blocks: Vec<&str> = guide.split("```rust\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 7);
    for block in blocks {
        assert!(added.contains(block), "the patch does not hold:\n{block}");
    }
}
