//! What may serve as an identifier, and the two closed sets everything is named by: systems and steps.
//!
//! Identifiers end up in URL paths, idempotency keys and markers, so the rule is the same wherever one comes from:
//! an object's spec, a stored status, or the reply of a system.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest identifier, in bytes (they are ASCII).
pub const ID_MAX: usize = 128;
/// Longest bundle name, in bytes.
pub const BUNDLE_MAX: usize = 512;
/// Longest title, in characters.
pub const TITLE_MAX: usize = 256;
/// The rule of [`is_id`] as an RE2 pattern, for schemas. Either a character that is not a dot, or three dots or more,
/// which leaves out `.` and `..` without the look-ahead that RE2 lacks.
pub const ID_PATTERN: &str = r"^([!-.0-?A-~]*[!--0-?A-~][!-.0-?A-~]*|\.{3,})$";
/// The rule of [`is_bundle`] as an RE2 pattern.
pub const BUNDLE_PATTERN: &str =
    r"^([!-.0-?A-~]*[!--0-?A-~][!-.0-?A-~]*|\.{3,})(/([!-.0-?A-~]*[!--0-?A-~][!-.0-?A-~]*|\.{3,}))*$";
/// The rule of [`is_digest`] as an RE2 pattern.
pub const DIGEST_PATTERN: &str = "^sha256:[0-9a-f]{64}$";

/// 1–128 printable ASCII characters without space, `@` and `/`, and not `.` or `..`.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() <= ID_MAX && is_segment(text) && !text.contains('@')
}

/// Segments that are each an identifier, joined by `/`; at most 512 bytes.
#[must_use]
pub fn is_bundle(text: &str) -> bool {
    text.len() <= BUNDLE_MAX && text.split('/').all(|segment| is_segment(segment) && !segment.contains('@'))
}

/// `sha256:` and 64 small hexadecimal digits.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

/// 1–256 characters, none of them a control character.
#[must_use]
pub fn is_title(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= TITLE_MAX && !text.chars().any(char::is_control)
}

/// An address known to the intake: 1–128 printable ASCII characters without space, and never a URL.
#[must_use]
pub fn is_address(text: &str) -> bool {
    (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains("://")
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

/// The six systems, by the role each plays in a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum System {
    /// The change-review system that holds the accepted decision. Only read.
    Governance,
    /// The evidence archive. Only read.
    Archive,
    /// The readiness checklist.
    Checklist,
    /// The release tracker or milestone board.
    Tracker,
    /// The review queue.
    Queue,
    /// Coordinator notification, or the scheduler's intake.
    Intake,
}

impl System {
    /// All six, in the order they are always listed in.
    pub const ALL: [System; 6] =
        [System::Governance, System::Archive, System::Checklist, System::Tracker, System::Queue, System::Intake];
    /// The five whose records are compared before anything is written.
    pub const AUTHORITIES: [System; 5] =
        [System::Governance, System::Archive, System::Checklist, System::Tracker, System::Queue];

    /// The name in statuses, packets and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            System::Governance => "governance",
            System::Archive => "archive",
            System::Checklist => "checklist",
            System::Tracker => "tracker",
            System::Queue => "queue",
            System::Intake => "intake",
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The five steps. There is no sixth: nothing here names governance, an approval or a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Step {
    /// Close the one readiness checklist.
    CloseChecklist,
    /// Set the one tracker record to approved.
    ApproveTracker,
    /// Attach the archived evidence's link to the tracker record.
    AttachEvidence,
    /// Clear the one review-queue entry.
    ClearQueueEntry,
    /// Announce the one handoff.
    NotifyCoordinator,
}

impl Step {
    /// All five, in the only order they are ever taken in.
    pub const ALL: [Step; 5] = [
        Step::CloseChecklist,
        Step::ApproveTracker,
        Step::AttachEvidence,
        Step::ClearQueueEntry,
        Step::NotifyCoordinator,
    ];

    /// Position in [`Step::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The system the step writes to.
    #[must_use]
    pub const fn system(self) -> System {
        match self {
            Step::CloseChecklist => System::Checklist,
            Step::ApproveTracker | Step::AttachEvidence => System::Tracker,
            Step::ClearQueueEntry => System::Queue,
            Step::NotifyCoordinator => System::Intake,
        }
    }

    /// The name in statuses and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::CloseChecklist => "CloseChecklist",
            Step::ApproveTracker => "ApproveTracker",
            Step::AttachEvidence => "AttachEvidence",
            Step::ClearQueueEntry => "ClearQueueEntry",
            Step::NotifyCoordinator => "NotifyCoordinator",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `<release.id>@<review.id>@<review.version>`: the idempotency key towards every system. Not the object's uid: an
/// object that was deleted and created again is the same closure and must not notify twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ClosureKey(String);

impl ClosureKey {
    /// The key of three identifiers. None may hold an `@`, which [`is_id`] sees to.
    #[must_use]
    pub fn new(release: &str, review: &str, version: &str) -> ClosureKey {
        ClosureKey(format!("{release}@{review}@{version}"))
    }

    /// The key as text, at most 386 bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `other`, as found on a record, is a key of the same release. Text that is no key at all is not.
    #[must_use]
    pub fn is_same_release(&self, other: &str) -> bool {
        let release = |key: &str| {
            let mut parts = key.split('@');
            match (parts.next(), parts.next(), parts.next(), parts.next()) {
                (Some(release), Some(_), Some(_), None) => Some(release.to_owned()),
                _ => None,
            }
        };
        release(other).is_some_and(|theirs| release(&self.0).is_some_and(|ours| ours == theirs))
    }
}

impl fmt::Display for ClosureKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_cannot_leave_their_path_segment() {
        for good in ["a", "REL-12", "payments-2026.11.3", "...", "..a", "a..", "%2e%2e", "~!$&'()*+,;=:"] {
            assert!(is_id(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a@b", "a\r\n", "a\0", "é", "\u{202e}x"] {
            assert!(!is_id(bad), "{bad:?}");
        }
        assert!(is_id(&"x".repeat(128)) && !is_id(&"x".repeat(129)));
    }

    #[test]
    fn bundles_have_no_empty_or_dotted_segment() {
        assert!(is_bundle("payments/2026.11.3/rv3"));
        for bad in ["/a", "a/", "a//b", "a/../b", "./a", "a/.", "a@b/c"] {
            assert!(!is_bundle(bad), "{bad}");
        }
    }

    #[test]
    fn keys_of_one_release_are_told_from_others() {
        let key = ClosureKey::new("r1", "RR-1", "3");
        assert_eq!(key.as_str(), "r1@RR-1@3");
        assert!(key.is_same_release("r1@RR-1@4") && key.is_same_release("r1@RR-2@3"));
        for other in ["r2@RR-1@3", "r1", "r1@x", "", "r1@a@b@c"] {
            assert!(!key.is_same_release(other), "{other}");
        }
    }
}
