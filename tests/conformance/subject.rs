//! What the suite needs to know of an adapter: how its server is started, how a release's record is made there, what people do
//! to it, and what is true of it afterwards.

use super::cases::Play;
use super::front::Front;
use async_trait::async_trait;
use releaseclosure::closure::ids::{Step, System};
use releaseclosure::providers::{LimitSettings, Product, Secrets, Settings};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;

/// What an adapter is asked to do: play a role that is only read, or make one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The role.
    pub system: System,
    /// What is written; none where nothing ever is.
    pub step: Option<Step>,
}

/// Every part there is, in the order of the table's columns.
pub const PARTS: [Part; 7] = [
    Part { system: System::Governance, step: None },
    Part { system: System::Archive, step: None },
    Part { system: System::Checklist, step: Some(Step::CloseChecklist) },
    Part { system: System::Tracker, step: Some(Step::ApproveTracker) },
    Part { system: System::Tracker, step: Some(Step::AttachEvidence) },
    Part { system: System::Queue, step: Some(Step::ClearQueueEntry) },
    Part { system: System::Intake, step: Some(Step::NotifyCoordinator) },
];

/// The roles that an issue tracker plays.
pub const IN_ISSUES: [System; 4] = [System::Governance, System::Checklist, System::Tracker, System::Queue];

impl Part {
    /// The head of its column.
    pub fn title(self) -> String {
        match self.step {
            Some(Step::ApproveTracker) => "tracker: approve".to_owned(),
            Some(Step::AttachEvidence) => "tracker: evidence".to_owned(),
            _ => self.system.to_string(),
        }
    }
}

/// The release that a record is of. The milestone's id is the product's to give.
#[derive(Clone, Debug)]
pub struct Release {
    /// Its id; the id of its review, where the product lets one choose; the name of its bundle is `ID/rv3`.
    pub id: String,
    /// Its service.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The version of its review.
    pub review_version: &'static str,
    /// The title of its milestone.
    pub milestone: &'static str,
    /// The digest of its bundle.
    pub digest: String,
}

impl Release {
    /// One.
    pub fn new(id: &str) -> Release {
        Release {
            id: id.to_owned(),
            service: "payments",
            version: "2026.11.3",
            review_version: "3",
            milestone: "2026.11",
            digest: format!("sha256:{}", "a".repeat(64)),
        }
    }

    /// The name of its bundle.
    pub fn bundle(&self) -> String {
        format!("{}/rv3", self.id)
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The record's id; of an archive the bundle's name, of an intake nothing.
    pub id: String,
    /// The milestone's id, where the product has one.
    pub milestone: Option<String>,
}

/// What is true of a record, asked of the server itself and not through the adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Whether the step is done.
    pub done: bool,
    /// How many of our marks for the step are there; at an intake, how many handoffs.
    pub marks: usize,
    /// Whether everything that people wrote is there to the letter.
    pub words: bool,
}

/// What people do. [`Place::person`] does it, or says why that is nothing that anybody does in this product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Somebody adds words of their own to the record, where people do.
    Edit,
    /// Somebody does by hand what the step would do.
    DoIt,
    /// Somebody renames the milestone.
    Rename,
    /// Somebody makes another record of the same release.
    Duplicate,
    /// Somebody makes so many other records that a look-up has more than one page.
    Crowd,
    /// Somebody removes the record.
    Remove,
    /// Somebody moves everything elsewhere: a repository gets another name.
    Move,
    /// Somebody archives everything.
    Archive,
    /// Somebody locks the record.
    Lock,
    /// The token may no longer write.
    WithdrawWriting,
    /// The token may no longer read.
    WithdrawReading,
    /// The token is revoked.
    Revoke,
    /// What a product's own case is about.
    #[allow(dead_code, reason = "not every product has one")]
    Own(&'static str),
}

/// An adapter in the suite: one file, and one line in the list of `tests/conformance.rs`.
#[async_trait(?Send)]
pub trait Adapter: Send + Sync {
    /// The product's name, as in a connection's spec.
    fn product(&self) -> &'static str;
    /// What it is tested against, for the table.
    fn against(&self) -> &'static str;
    /// The roles that it plays.
    fn systems(&self) -> &'static [System];
    /// The parts of these.
    fn parts(&self) -> Vec<Part> {
        PARTS.into_iter().filter(|part| self.systems().contains(&part.system)).collect()
    }
    /// Its whole allow-list, as people read it: each line begins with the role, the verb and what it is about.
    fn sends(&self) -> Vec<String>;
    /// How many cells are played at a time.
    fn side_by_side(&self) -> usize {
        6
    }
    /// Cases that no other product has, behind all others.
    fn own_cases(&self) -> &'static [(&'static str, Play)] {
        &[]
    }
    /// Starts the server; none where it is not built, which is then told.
    async fn start(&self) -> Option<Box<dyn Server>>;
}

/// A server that runs.
#[async_trait]
pub trait Server: Send + Sync {
    /// A place of its own for one cell of the table, with the fault proxy in front of it. `number` is unique.
    async fn place(&self, part: Part, number: usize) -> Arc<dyn Place>;
}

/// Where one cell of the table is played.
#[async_trait]
pub trait Place: Send + Sync {
    /// What stands between adapter and server.
    fn front(&self) -> &Front;
    /// The product's settings, as in a connection's spec, with the front as endpoint.
    fn product(&self) -> Product;
    /// The token that is let in.
    fn token(&self) -> String;
    /// What else of Secrets the product needs, with this token where it has one.
    fn secrets(&self, _token: &str) -> Secrets {
        Secrets::default()
    }
    /// The digest of the release's bundle, where it is that of some bytes.
    fn digest(&self, _release: &Release) -> Option<String> {
        None
    }
    /// Whether the step leaves our mark behind. Where it does not, [`Truth::marks`] is how often it was we who did it, as the
    /// product's own records tell.
    fn is_marked(&self) -> bool {
        true
    }
    /// Whether the step adds something each time, so that two who looked at the same moment both do.
    fn adds(&self) -> bool {
        false
    }
    /// The tracker's word for a release that may be approved, and for one that is.
    fn words(&self) -> (&'static str, &'static str) {
        ("InReview", "Approved")
    }
    /// Makes the release's record for this part, as it is right before the step: all items done, the tracker record approved where
    /// the step is to attach evidence.
    async fn make(&self, release: &Release) -> Made;
    /// What is true of it.
    async fn truth(&self, release: &Release, made: &Made) -> Truth;
    /// Does what people do.
    ///
    /// # Errors
    /// Nobody does that in this product; why, as the table tells it.
    async fn person(&self, release: &Release, made: &Made, deed: Deed) -> Result<(), &'static str>;
    /// Whatever was sent and is not on the adapter's allow-list.
    fn not_allowed(&self) -> Vec<String>;
}

/// A connection's settings in a place, with this token.
pub fn settings(place: &dyn Place, token: &str, timeout: Duration) -> Settings {
    Settings {
        product: place.product(),
        token: Some(SecretString::from(token)),
        ca_pem: None,
        client_certificate_pem: None,
        secrets: place.secrets(token),
        limits: LimitSettings { requests_per_second: 1000.0, concurrency: 4, timeout },
        allow_plaintext: true,
        allow_loopback: true,
        meter: Arc::default(),
    }
}
