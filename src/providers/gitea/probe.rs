//! What a probe finds, and what may be relied on in each role.

use super::{PAGES_MAX, Sources, rows, wire};
use crate::closure::ids::System;
use crate::closure::snapshot::Trouble;
use crate::providers::rest::reply::Came;
use crate::providers::rest::table::Fill;
use crate::roles::{Abilities, Concurrency, Probe, Prober};
use async_trait::async_trait;

const fn unfit(setting: &'static str, what: &'static str) -> Probe {
    Probe::Unfit { setting, what }
}

impl Sources {
    /// Whether the repository has the label by which the role's records are found.
    async fn probe_label(&self, system: System) -> Probe {
        const WHAT: &str = "is no label of the repository itself: make it there, and put it on the role's issues";
        let labels = &self.gitea.labels;
        let (label, missing) = match system {
            System::Checklist => (&labels.checklist, unfit("gitea.labels.checklist", WHAT)),
            System::Tracker => (&labels.tracker, unfit("gitea.labels.tracker", WHAT)),
            System::Queue => (&labels.queue, unfit("gitea.labels.queue", WHAT)),
            System::Governance | System::Archive | System::Intake => return Probe::Ready,
        };
        for page in 1..=PAGES_MAX {
            let request = self.fills(&[("page", Fill::Number(page))]).and_then(|fills| rows::LABELS.request(&fills));
            let Some(request) = request else { return Probe::Failed(Trouble::NotUnderstood.into()) };
            match self.reader.probe(request, |reply| wire::label_names(&reply.body).ok()).await {
                Came::Success(names) if names.contains(label) => return Probe::Ready,
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
        match self.reader.probe(request, |reply| wire::repository(&reply.body).ok()).await {
            Came::Success(repository) if !repository.keeps_issues() => {
                unfit("gitea.repository", "names a repository without issues: turn them on there")
            }
            Came::Success(repository) if system != System::Governance && repository.archived => {
                unfit("gitea.repository", "names an archived repository, in which nothing can be changed")
            }
            Came::Success(repository) if system != System::Governance && !repository.permissions.push => {
                unfit("gitea.tokenSecretRef", "is of a user without write access to the repository")
            }
            Came::Success(_) => self.probe_label(system).await,
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
