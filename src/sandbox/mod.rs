//! `releaseclosure sandbox`: the six systems in one process, behind the closure HTTP contract, version 1.
//!
//! It is the contract's reference implementation, for trying the operator without connecting anything real, and for its tests:
//! everything that is asked is written down, and everything that can go wrong on a network can be made to go wrong.
//!
//! A request's way: `connection` (a socket that can be cut) → `serve` (reads it, asks `faults`) → `call` (what it names) →
//! `contract` (decides, changes nothing) → `world` (makes the change, writes the `log`) → `reply`. Beside it `admin` and `page`
//! show and turn all of that; `answer` is the same without a socket and a clock.
//!
//! State is held in memory, and in a file where one is named. The admin API is open to everybody who reaches the port: a
//! sandbox belongs on a developer's machine or in a test cluster, and nowhere else.

mod admin;
mod answer;
mod bodies;
mod call;
mod connection;
mod contract;
mod faults;
mod feed;
mod generate;
mod held;
mod log;
mod page;
mod problem;
mod records;
mod reply;
mod seed;
mod serve;
mod server;
mod settings;
mod state;
mod state_file;
mod world;

pub use answer::Answer;
pub use call::PREFIX;
pub use faults::{Action, Armed, Edit, EtagMode, Injected, Match, RetryAfter, Rule};
pub use generate::{Generate, generate};
pub use held::{HeldRequest, Verdict};
pub use log::{Entry, Headers, RoleCounts};
pub use problem::{Code, Problem};
pub use records::{Role, Version};
pub use seed::{Delivery, Seed, SeedError};
pub use server::{Args, Error, Handle, run, run_saying, start};
pub use settings::{Intake, Listing, Marking, Settings};
pub use state::{Config, Sandbox};
pub use world::{Counts, DeliveryCounts, Effect};
