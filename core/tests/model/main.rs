//! The model: the production core, unchanged, in every order in which a small world can treat it.
//!
//! `cargo test -p releaseclosure-core --test model` explores the everyday scopes; with `RELEASECLOSURE_PROOF=1` the large
//! ones. Arguments choose among them by name.

mod configurations;
mod coverage;
mod driver;
mod engine;
mod future;
mod model;
mod properties;
mod records;
mod send;
mod state;
mod tables;
mod watch;
mod world;

use configurations::Scope;
use driver::Closing;
use stateright::{Checker as _, HasDiscoveries, Model as _};
use std::collections::BTreeSet;
use std::process::ExitCode;

fn explore(scope: Scope, reached: &mut BTreeSet<String>) -> Result<usize, String> {
    let started = std::time::Instant::now();
    let name = scope.name;
    let checker = Closing::new(scope).checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let broken = checker.discoveries();
    let states = checker.unique_state_count();
    let (passes, transitions) = checker.model().engine.size();
    println!("{name:<34}{states:>12}{:>12}{passes:>9}{transitions:>10} {:?}", checker.state_count(), started.elapsed());
    reached.extend(checker.model().engine.coverage.reached());
    if let Some((property, path)) = broken.into_iter().next() {
        let actions: Vec<String> = path.into_actions().iter().map(|action| format!("  {action:?}\n")).collect();
        return Err(format!("{property}\n{}", actions.concat()));
    }
    Ok(states)
}

fn main() -> ExitCode {
    let mut reached = BTreeSet::new();
    let mut total = 0;
    for scope in configurations::everyday() {
        match explore(scope, &mut reached) {
            Ok(states) => total += states,
            Err(broken) => {
                println!("{broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{total}");
    for name in coverage::MUST {
        if !reached.contains(*name) {
            println!("not reached: {name}");
        }
    }
    for name in &reached {
        if !coverage::MUST.contains(&name.as_str()) {
            println!("also: {name}");
        }
    }
    ExitCode::SUCCESS
}
