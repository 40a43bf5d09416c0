//! What a probe finds, and what may be relied on in each role.

use super::{PAGES_MAX, Sources, rows, wire};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::providers::rest::reply::Came;
use crate::providers::rest::table::Fill;
use crate::roles::{Abilities, Concurrency, Probe, Prober};
use async_trait::async_trait;
use std::sync::atomic::Ordering;

const fn unfit(setting: &'static str, what: &'static str) -> Probe {
    Probe::Unfit { setting, what }
}

impl Sources {
    /// Whether the server gives an issue's text a version, as far as an issue can tell: where there is none yet, nothing can be
    /// said.
    async fn probe_version(&self) -> Probe {
        let request = self.fills(&[]).and_then(|fills| rows::ISSUES.request(&fills));
        let Some(request) = request else { return Probe::Failed(Trouble::NotUnderstood.into()) };
        match self.reader.probe(request, |reply| wire::all_versioned(&reply.body).ok()).await {
            Came::Success(true) => Probe::Ready,
            Came::Success(false) => unfit(
                "gitea.endpoint",
                "names a server whose issues have no `content_version`, without which none is read or changed: it needs a Gitea \
                 1.26 or newer, or a Forgejo that has it",
            ),
            Came::Problem(_) => Probe::Failed(Trouble::NotUnderstood.into()),
            Came::Failure(failure) => Probe::Failed(failure.why),
        }
    }

    /// Whether the repository has the label by which the role's records are found.
    async fn probe_label(&self, system: System) -> Probe {
        const WHAT: &str = "is no label of the repository itself: make it there, and put it on the role's issues";
        let Some(label) = self.gitea.labels.of(system) else { return Probe::Ready };
        let missing = match system {
            System::Checklist => unfit("gitea.labels.checklist", WHAT),
            System::Tracker => unfit("gitea.labels.tracker", WHAT),
            _ => unfit("gitea.labels.queue", WHAT),
        };
        for page in 1..=PAGES_MAX {
            let request = self.fills(&[("page", Fill::Number(page))]).and_then(|fills| rows::LABELS.request(&fills));
            let Some(request) = request else { return Probe::Failed(Trouble::NotUnderstood.into()) };
            match self.reader.probe(request, |reply| wire::label_names(&reply.body).ok()).await {
                Came::Success(names) if names.iter().any(|name| name == label) => return Probe::Ready,
                Came::Success(names) if names.is_empty() => return missing,
                Came::Success(_) => {}
                Came::Problem(_) => return Probe::Failed(Trouble::NotUnderstood.into()),
                Came::Failure(failure) => return Probe::Failed(failure.why),
            }
        }
        missing
    }
}

#[async_trait]
impl Prober for Sources {
    async fn probe(&self, system: System) -> Probe {
        let request = self.fills(&[]).and_then(|fills| rows::REPOSITORY.request(&fills));
        let Some(request) = request else {
            return unfit("gitea.repository", "must be an owner, a slash and a name");
        };
        let written = system != System::Governance;
        match self.reader.probe(request, |reply| wire::repository(&reply.body).ok()).await {
            Came::Success(repository) if !repository.keeps_issues() => {
                unfit("gitea.repository", "names a repository without issues: turn them on there")
            }
            Came::Success(repository) if written && repository.archived => {
                unfit("gitea.repository", "names an archived repository, in which nothing can be changed")
            }
            Came::Success(repository) if written && !repository.permissions.push => {
                // Whatever was refused was refused for this.
                self.refused.store(false, Ordering::Relaxed);
                unfit("gitea.tokenSecretRef", "is of a user without write access to the repository")
            }
            // A token's scopes are told to nobody.
            Came::Success(_) if written && self.refused.load(Ordering::Relaxed) => unfit(
                "gitea.tokenSecretRef",
                "is of a user who may write, and a change was refused all the same (403): make a token with the scope write:issue",
            ),
            Came::Success(_) => match self.probe_version().await {
                Probe::Ready => self.probe_label(system).await,
                other => other,
            },
            Came::Problem(404) => unfit(
                "gitea.repository",
                "names no repository that the token may see: correct it, or give the user access",
            ),
            Came::Problem(_) => Probe::Failed(Trouble::NotUnderstood.into()),
            Came::Failure(failure) if failure.has_moved() => {
                unfit("gitea.repository", "names a repository that has moved: set it to where it is now")
            }
            Came::Failure(failure) => Probe::Failed(failure.why),
        }
    }

    fn abilities(&self, system: System) -> Option<Abilities> {
        if matches!(system, System::Archive | System::Intake) {
            return None;
        }
        let written = system != System::Governance;
        Some(Abilities {
            concurrency: written.then_some(Concurrency::CompareAndSwap),
            // What is no part of the text.
            unguarded: match system {
                System::Checklist | System::Queue => &["state"],
                System::Tracker => &["milestone.id", "milestone.title"],
                System::Governance | System::Archive | System::Intake => &[],
            },
            marker: written.then_some(true),
            carries: Abilities::all_fields(system),
            ..Abilities::NONE
        })
    }
}
