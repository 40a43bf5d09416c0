//! Fuzzing of whatever parses foreign bytes.
//!
//! A target is a function of bytes: it panics where a property fails, and says whether it understood them. `cargo test`
//! gives it the kept corpus, and a fixed number of inputs that a fixed seed makes of it; `hack/fuzz` lets libFuzzer look
//! for new paths through it. `FUZZ_FACTOR` multiplies the inputs, `FUZZ_SEED` makes others.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "figures.rs"]
pub(crate) mod figures;

/// Longest input that is made, in bytes, where no mutation is about length itself.
#[cfg_attr(not(fuzzing), allow(dead_code, reason = "the bounded run has its own lengths"))]
pub(crate) const LEN_MAX: usize = 1 << 16;

/// Declares one target: its name, its folder below `tests/corpus`, how many inputs are made, and the function.
macro_rules! fuzz {
    ($name:ident, $corpus:literal, $inputs:literal, $check:expr) => {
        #[test]
        fn $name() {
            #[cfg(fuzzing)]
            bolero::check!().with_max_len($crate::fuzz::LEN_MAX).for_each(|bytes: &[u8]| {
                let _: bool = $check(bytes);
            });
            #[cfg(not(fuzzing))]
            $crate::fuzz::bounded($corpus, $inputs, $check);
        }
    };
}
pub(crate) use fuzz;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The kept inputs of a target, by name.
pub(crate) fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = repository().join("tests/corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("a folder of kept inputs").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read =
        |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap());
    files.into_iter().map(read).collect()
}

/// A number of the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// The bounded run: every kept input, then `inputs` made ones.
#[cfg_attr(fuzzing, allow(dead_code, reason = "the fuzzer makes the inputs"))]
pub(crate) fn bounded(target: &str, inputs: u64, check: fn(&[u8]) -> bool) {
    let kept = corpus(target);
    for (name, bytes) in &kept {
        assert!(catch_unwind(|| check(bytes)).is_ok(), "the kept input {target}/{name} breaks it");
    }
    let bodies: Vec<Vec<u8>> = kept.into_iter().map(|(_, bytes)| bytes).collect();
    let mut random = fastrand::Rng::with_seed(setting("FUZZ_SEED", 4711));
    let made = inputs * setting("FUZZ_FACTOR", 1);
    let (mut distinct, mut understood) = (BTreeSet::new(), 0);
    for _ in 0..made {
        let base = random.usize(..bodies.len());
        let changes: Vec<u64> = (0..=random.usize(..4)).map(|_| random.u64(..)).collect();
        let input = changed(&bodies, base, &changes);
        distinct.insert(fingerprint(&input));
        match catch_unwind(AssertUnwindSafe(|| check(&input))) {
            Ok(so) => understood += u64::from(so),
            Err(_) => panic!("{target}: {} breaks it", smallest(&bodies, base, changes, check).display()),
        }
    }
    let (kept, distinct) = (bodies.len(), distinct.len());
    figures::tell(&format!("fuzz {target}: {kept} kept, {made} made ({distinct} distinct, {understood} understood)"));
    assert!((1..made).contains(&understood), "{target}: {understood} of {made} were understood: nothing is tried");
}

fn fingerprint(input: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    hasher.finish()
}

/// Leaves out the changes that it fails without, and puts the input where it can be read and kept.
fn smallest(bodies: &[Vec<u8>], base: usize, mut changes: Vec<u64>, check: fn(&[u8]) -> bool) -> PathBuf {
    let fails = |changes: &[u64]| {
        let input = changed(bodies, base, changes);
        catch_unwind(AssertUnwindSafe(|| check(&input))).is_err()
    };
    let mut at = 0;
    while at < changes.len() {
        let mut fewer = changes.clone();
        fewer.remove(at);
        if fails(&fewer) { changes = fewer } else { at += 1 }
    }
    let input = changed(bodies, base, &changes);
    let folder = repository().join("target/fuzz");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{:016x}", fingerprint(&input)));
    std::fs::write(&file, input).unwrap();
    file
}

fn changed(bodies: &[Vec<u8>], base: usize, changes: &[u64]) -> Vec<u8> {
    changes.iter().fold(bodies[base].clone(), |body, seed| {
        let random = &mut fastrand::Rng::with_seed(*seed);
        match serde_json::from_slice::<Value>(&body) {
            Ok(value) if random.u8(..8) < 7 => written(&restructured(value, bodies, random)),
            Ok(_) | Err(_) => scrambled(body, bodies, random),
        }
    })
}

/// In a text that stands for a piece of JSON which no `Value` can hold.
const RAW: char = '\u{e000}';
/// Before a member's name that stands in its object twice.
const TWICE: char = '\u{e001}';

fn raw(number: u64) -> Vec<u8> {
    let nested = |open: &str, close: &str, depth: usize| format!("{}0{}", open.repeat(depth), close.repeat(depth));
    match number {
        0 => b"1e400".to_vec(),
        1 => b"-0".to_vec(),
        2 => b"18446744073709551616".to_vec(),
        3 => b"123456789012345678901234567890.5E-99999".to_vec(),
        4 => nested("[", "]", 62).into_bytes(),
        5 => nested("[", "]", 65).into_bytes(),
        6 => nested("[", "]", 100_000).into_bytes(),
        7 => nested("{\"a\":", "}", 100_000).into_bytes(),
        8 => b"\"\xff\xfe\"".to_vec(),
        9 => b"\"\\ud800\"".to_vec(),
        10 => b"\"a\\u0000b\"".to_vec(),
        11 => b"\"a\0b\"".to_vec(),
        12 => b"NaN".to_vec(),
        13 => b"'a'".to_vec(),
        14 => b"nul".to_vec(),
        15 => b"[1,]".to_vec(),
        16 => b"\"\\u0052\\u0052-4711\"".to_vec(),
        _ => b"{\"a\":1,\"a\":2}".to_vec(),
    }
}
const RAWS: u64 = 18;

fn written(value: &Value) -> Vec<u8> {
    let text = value.to_string().replace(TWICE, "");
    let stand_in = format!("\"{RAW}");
    let mut pieces = text.split(&stand_in);
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (number, rest) = piece.split_once('"').unwrap();
        bytes.extend(raw(number.parse().unwrap_or_default()));
        bytes.extend(rest.as_bytes());
    }
    bytes
}

/// Texts that break one rule or other, or just do not.
fn odd_text(random: &mut fastrand::Rng) -> String {
    let odd = [
        "",
        ".",
        "..",
        "a/b",
        "a@b",
        "@",
        "a b",
        "a\r\nb",
        "a\0",
        "é",
        "\u{202e}x",
        "\u{feff}",
        "%2e%2e",
        "...",
        "-1",
        "null",
        "https://me:secret@a.example/b?sig=secret",
        "http://a.example",
        "https://a.example/#x",
        "javascript:alert(1)",
        "sha256:00",
        "1h",
        "0s",
        "99999999999999h",
        "Accepted",
        "Open",
        "Closed",
        "Approved",
        "Cleared",
        "Reopened",
        "a\u{7f}",
    ];
    let lengths = [64, 127, 128, 129, 255, 256, 257, 512, 513, 1024, 1025, 2048, 2049, 4097, 100_000];
    match random.u8(..4) {
        0 => random.choice(['x', 'é', '\u{1}', '😀']).unwrap().to_string().repeat(*random.choice(&lengths).unwrap()),
        1 => (0..random.usize(..40)).map(|_| random.char(..)).collect(),
        _ => (*random.choice(odd).as_ref().unwrap()).to_owned(),
    }
}

fn odd_value(random: &mut fastrand::Rng) -> Value {
    match random.u8(..12) {
        0 => Value::Null,
        1 => json!(random.bool()),
        2 => json!(random.i64(..)),
        3 => json!([]),
        4 => json!({}),
        5 => json!([odd_text(random)]),
        6 | 7 => json!(format!("{RAW}{}", random.u64(..RAWS))),
        _ => json!(odd_text(random)),
    }
}

/// Where everything in a value is, itself first.
fn places(value: &Value, at: String, all: &mut Vec<String>) {
    all.push(at.clone());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), all);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(number, item)| places(item, format!("{at}/{number}"), all));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn any_place<'a>(value: &'a mut Value, random: &mut fastrand::Rng) -> &'a mut Value {
    let mut all = Vec::new();
    places(value, String::new(), &mut all);
    value.pointer_mut(random.choice(&all).unwrap()).unwrap()
}

/// One change that knows what JSON is.
fn restructured(mut value: Value, bodies: &[Vec<u8>], random: &mut fastrand::Rng) -> Value {
    let other = random.choice(bodies).and_then(|body| serde_json::from_slice::<Value>(body).ok());
    let kind = random.u8(..10);
    let place = any_place(&mut value, random);
    match (kind, place) {
        // A member or an item less, twice, or under another name.
        (0..=2, Value::Object(members)) if !members.is_empty() => {
            let name = random.choice(members.keys().cloned().collect::<Vec<_>>()).unwrap();
            match kind {
                0 => drop(members.remove(&name)),
                1 => drop(members.insert(format!("{TWICE}{name}"), odd_value(random))),
                _ => {
                    let member = members.remove(&name).unwrap();
                    let names = [name.to_uppercase(), format!("{name} "), odd_text(random)];
                    members.insert(random.choice(names).unwrap(), member);
                }
            }
        }
        (0..=2, Value::Array(items)) if !items.is_empty() => match kind {
            0 => drop(items.remove(random.usize(..items.len()))),
            1 => {
                let item = items[0].clone();
                items.resize(*random.choice(&[2, 5, 24, 999, 1000, 1001]).unwrap(), item);
            }
            _ => items.push(odd_value(random)),
        },
        (3, Value::Object(members)) => drop(members.insert(odd_text(random), odd_value(random))),
        (3 | 4, Value::String(text)) => match random.u8(..3) {
            0 => text.push(random.choice(['x', ' ', '/', '@', '\0', '\u{200b}']).unwrap()),
            1 => drop(text.pop()),
            _ => *text = text.to_uppercase(),
        },
        (5, place) => *place = other.map_or(Value::Null, |mut other| any_place(&mut other, random).take()),
        (6, place) => *place = json!({ "items": [place.take()] }),
        (_, place) => *place = odd_value(random),
    }
    value
}

/// One change that knows nothing.
fn scrambled(mut body: Vec<u8>, bodies: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let at = random.usize(..=body.len());
    match random.u8(..9) {
        0 => body.truncate(at),
        1 => body.insert(at, random.u8(..)),
        2 if at < body.len() => body[at] ^= 1 << random.u8(..8),
        3 if at < body.len() => drop(body.remove(at)),
        4 => drop(body.splice(..0, *b"\xef\xbb\xbf")),
        5 => body.extend(b" \n\t{}"),
        6 => {
            let other = random.choice(bodies).unwrap();
            body.truncate(at);
            body.extend(&other[random.usize(..=other.len())..]);
        }
        7 => drop(body.splice(..0, *b" \r\n")),
        _ => {
            body.insert(0, b'[');
            body.push(b']');
        }
    }
    body
}
