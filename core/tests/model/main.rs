//! The model: the production core, unchanged, in every order in which a small world can treat it.
//!
//! `cargo test --profile proof -p releaseclosure-core --test model` explores the everyday scopes; with `RELEASECLOSURE_PROOF=1` the large
//! ones. Arguments choose among them by a part of their name. It prints what it explored; what it asserts are counts.

mod abstraction;
mod configurations;
mod coverage;
mod driver;
mod engine;
mod future;
mod model;
mod properties;
mod records;
mod run;
mod send;
mod state;
mod tables;
mod watch;
mod world;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let large = std::env::var_os("RELEASECLOSURE_PROOF").is_some();
    match run::run(&arguments, large) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failures) => {
            println!("\n{failures}");
            ExitCode::FAILURE
        }
    }
}
