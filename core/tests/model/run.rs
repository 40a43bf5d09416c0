//! Explores the scopes one after another, prints what each took, and sees that enough was explored.

use super::configurations::{self, Scope};
use super::driver::Closing;
use super::{abstraction, coverage};
use stateright::{Checker as _, HasDiscoveries, Model as _};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

/// Fewest distinct states that the everyday scopes have together.
const TOGETHER: usize = 3_000_000;
/// Fewest that the large ones have together.
const LARGE_TOGETHER: usize = 100_000_000;

/// The kernel's unit of CPU time, as it shows it to programs: a hundredth of a second on every architecture.
const TICKS: f64 = 100.0;

/// What a scope took.
struct Explored {
    states: usize,
    reached: BTreeSet<String>,
}

/// Explores what the arguments choose.
///
/// # Errors
/// What did not hold, as text.
pub fn run(arguments: &[String], large: bool) -> Result<(), String> {
    if arguments.iter().any(|argument| argument == "--list") {
        for scope in configurations::everyday().iter().chain(&configurations::large()) {
            println!("{}: test", scope.name);
        }
        return Ok(());
    }
    let wanted: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let scopes = if large { configurations::large() } else { configurations::everyday() };
    let scopes: Vec<Scope> = scopes.into_iter().filter(|scope| is_wanted(scope.name)).collect();
    let mut failures = Vec::new();
    if is_wanted("abstraction") {
        match abstraction::check() {
            Ok(worlds) => println!("{worlds} worlds are to the production checks what they are to the model"),
            Err(failure) => failures.push(failure),
        }
    }
    if scopes.is_empty() {
        return told(&failures);
    }
    let started = Instant::now();
    println!(
        "{:<22}{:>12}{:>13}{:>8}{:>12}{:>8}{:>8}{:>8}",
        "scope", "states", "generated", "passes", "transitions", "s", "cpu s", "MB"
    );
    let (mut total, mut reached) = (0, BTreeSet::new());
    for scope in &scopes {
        match explore(scope.clone()) {
            Ok(explored) => {
                total += explored.states;
                reached.extend(explored.reached);
                let least = configurations::AT_LEAST.iter().find(|(name, _)| *name == scope.name);
                if let Some((name, least)) = least.filter(|(_, least)| explored.states < *least) {
                    failures.push(format!("{name}: fewer than {least} states"));
                }
            }
            // What does not hold in one scope would take the others' time.
            Err(failure) => return Err(failure),
        }
    }
    println!("{total} distinct states in {:.1} s; {} kinds of event", started.elapsed().as_secs_f64(), reached.len());
    let least = if large { LARGE_TOGETHER } else { TOGETHER };
    if wanted.is_empty() && total < least {
        failures.push(format!("together fewer than {least} states"));
    }
    if wanted.is_empty() && !large {
        let missed = coverage::MUST.iter().filter(|name| !reached.contains(**name));
        failures.extend(missed.map(|name| format!("never reached: {name}")));
    }
    told(&failures)
}

fn told(failures: &[String]) -> Result<(), String> {
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

fn explore(scope: Scope) -> Result<Explored, String> {
    let (name, started, cpu) = (scope.name, Instant::now(), cpu_seconds());
    // The peak is that of this scope alone.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let checker = Closing::new(scope).checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join();
    let states = checker.unique_state_count();
    let engine = &checker.model().engine;
    let (passes, transitions) = engine.size();
    println!(
        "{name:<22}{states:>12}{:>13}{passes:>8}{transitions:>12}{:>8.1}{:>8.1}{:>8}",
        checker.state_count(),
        started.elapsed().as_secs_f64(),
        cpu_seconds() - cpu,
        peak_megabytes(),
    );
    // Two threads stop at what they find first, which may break more than one.
    let discoveries: BTreeMap<_, _> = checker.discoveries().into_iter().collect();
    if let Some((_, path)) = discoveries.iter().next() {
        let broken: Vec<String> = discoveries.keys().map(|property| format!("{name}: {property}\n")).collect();
        let actions: Vec<String> = path.clone().into_actions().iter().map(|action| format!("  {action:?}\n")).collect();
        return Err(format!("{}The way to the first:\n{}", broken.concat(), actions.concat()));
    }
    Ok(Explored { states, reached: engine.coverage.reached() })
}

/// CPU time of this process so far; none where the kernel does not tell.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything: state is the third field, user and system time are 14 and 15.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// The most memory that was resident, in megabytes.
fn peak_megabytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default() / 1024
}
