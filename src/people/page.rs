//! A follow-up packet as a page for people.

use super::clean;
use super::error::word;
use crate::api::FollowUpPacket;
use crate::closure::ledger::{Finding, Halt};
use std::fmt::Write;

/// The whole packet. Whatever is in it, the page has no control characters but line ends.
pub(super) fn page(packet: &FollowUpPacket) -> String {
    let name = packet.metadata.name.as_deref().unwrap_or_default();
    let namespace = packet.metadata.namespace.as_deref().unwrap_or_default();
    let spec = &packet.spec;
    let mut page =
        format!("{}: {}, halted {}\n{}\n\n", clean(name), spec.cause.as_str(), spec.halted_at, spec.cause.sentence());
    let event = &spec.review.accepted_event;
    let facts = [
        ("Closure", format!("{namespace}/{}", spec.closure_ref.name)),
        ("Release", format!("{} ({} {})", spec.release.id, spec.release.service, spec.release.version)),
        ("Review", format!("{} version {}, accepted by event {}", spec.review.id, spec.review.version, event.id)),
        ("Milestone", format!("{} {:?}", spec.milestone.id, spec.milestone.title)),
        ("Evidence", format!("{} {}", spec.evidence.bundle, spec.evidence.digest)),
        ("Coordinator", spec.coordinator.clone().unwrap_or_else(|| "-".to_owned())),
    ];
    for (label, fact) in facts {
        line(&mut page, &format!("{label:<12} {}", clean(&fact)));
    }
    line(&mut page, "\nWhat disagrees");
    page.push_str(&findings(&spec.findings, spec.findings_omitted));
    line(&mut page, "\nHow far it is");
    let steps = spec.steps.iter().map(|step| {
        let record = step.record.as_deref().unwrap_or("-");
        [step.name.as_str(), step.outcome.as_str(), record, step.link.as_deref().unwrap_or("")].map(clean).to_vec()
    });
    page.push_str(&table(&["STEP", "OUTCOME", "RECORD", "LINK"], steps));
    line(&mut page, "\nWhat to do");
    for instruction in &spec.instructions {
        line(&mut page, &format!("  - {}", clean(instruction)));
    }
    if let Some(resolution) = &spec.resolution {
        let by = clean(&resolution.resolved_by);
        line(&mut page, &format!("\nResolved: {} by {by}", word(resolution.decision)));
        if let Some(note) = &resolution.note {
            line(&mut page, &format!("  {}", clean(note)));
        }
    }
    page
}

/// What `wait` says of a halt: enough to decide whom to call.
pub(super) fn halted(namespace: &str, name: &str, halt: &Halt) -> String {
    let Halt { id, cause, at, packet_ref, findings: found, findings_omitted } = halt;
    let mut text = format!("{name}: halted {at}, {}: {}\n", cause.as_str(), cause.sentence());
    text.push_str(&findings(found, *findings_omitted));
    let packet = clean(&packet_ref.name);
    line(&mut text, &format!("Read what to do: kubectl releaseclosure packet -n {namespace} {packet}"));
    let _ = write!(text, "Then go on:      kubectl releaseclosure resume -n {namespace} {name} --halt {}", clean(id));
    text
}

fn findings(findings: &[Finding], omitted: Option<u32>) -> String {
    let rows = findings.iter().map(|finding| {
        let Finding { check, reason: _, system, record, field, expected, observed, link } = finding;
        let check = format!("{check:?}");
        let record = record.as_deref().unwrap_or("-");
        let link = link.as_deref().unwrap_or("");
        [&check, system.as_str(), record, field, expected, observed, link].map(clean).to_vec()
    });
    let mut text = table(&["CHECK", "SYSTEM", "RECORD", "FIELD", "EXPECTED", "OBSERVED", "LINK"], rows);
    if let Some(omitted) = omitted {
        line(&mut text, &format!("  … and {omitted} more"));
    }
    text
}

/// Columns as wide as their widest cell, indented; the last one, and what is empty at the end of a row, unpadded.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        line(&mut text, format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end());
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}
