//! What proofs went through, in a line each.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Prints a figure, and puts it into the file that `RELEASECLOSURE_FIGURES` names: `hack/test` prints that in the end, since
/// what a test prints is kept from sight where it passes.
pub(crate) fn tell(figure: &str) {
    println!("{figure}");
    if let Some(file) = std::env::var_os("RELEASECLOSURE_FIGURES") {
        keep(Path::new(&file), figure);
    }
}

/// Lines of several processes end up beside each other.
fn keep(file: &Path, figure: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(file).expect("a file that can be written");
    file.write_all(format!("{figure}\n").as_bytes()).expect("a line of it");
}

#[test]
fn a_figure_is_kept_beside_the_others() {
    let file = std::env::temp_dir().join(format!("releaseclosure-figures-{}", std::process::id()));
    keep(&file, "one");
    keep(&file, "another");
    let kept = std::fs::read_to_string(&file).expect("it was made");
    std::fs::remove_file(&file).expect("it is there");
    assert_eq!(kept, "one\nanother\n");
}
