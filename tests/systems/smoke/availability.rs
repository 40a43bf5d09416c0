//! A server that is not there is told by name; where all are required, it is a failure.

use crate::systems::{look_for, note};

#[test]
fn what_is_not_built_is_skipped_by_name_and_counted() {
    let line = look_for("no-such-system", false).expect_err("it is not built");
    assert!(line.starts_with("skipped: no-such-system: not built"), "{line}");
    assert!(line.contains("what_is_not_built_is_skipped_by_name_and_counted"), "{line}");
    let list = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("skipped-{}", std::process::id()));
    note(&line, &list);
    note(&line, &list);
    assert_eq!(std::fs::read_to_string(&list).expect("a list"), line.repeat(2));
    std::fs::remove_file(list).expect("it is there");
}

#[test]
#[should_panic(expected = "no-such-system is required")]
fn what_is_required_and_not_built_fails() {
    let _ = look_for("no-such-system", true);
}
