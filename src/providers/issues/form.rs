//! An issue's text as a form: headings with values, task lists, evidence links, and our marks; and how it is changed.
//!
//! **Guarantees:** a change touches the bytes it is about and no others: a value is replaced where it stands, a link or a
//! mark is added behind what is there. Whatever a person wrote stays to the letter, line ends included.
//!
//! The text is Markdown, of which only this much is understood: headings (`#` to `######`), fenced blocks (inside of which
//! nothing is a heading), list items and HTML comments.

use crate::closure::ids::Step;
use crate::closure::snapshot::{EvidenceLink, Marker, Marking};
use std::ops::Range;

/// Longest value that is compared, in bytes; of a longer one this much is shown.
const VALUE_MAX: usize = 256;
/// Most links, items or marks that are looked at in one text.
pub(in crate::providers) const ENTRIES_MAX: usize = 1000;
/// What an issue form leaves below a heading that was not filled in.
const NO_RESPONSE: &str = "_No response_";
const MARK: &str = "<!-- releaseclosure:";

/// The text of an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::providers) struct Form {
    text: String,
}

/// One heading and what stands below it.
struct Section<'a> {
    heading: &'a str,
    /// Everything up to the next heading.
    below: Range<usize>,
    /// What of it was filled in: without blanks around it, and without our marks on lines of their own.
    value: Range<usize>,
}

impl Form {
    pub(in crate::providers) fn new(text: String) -> Form {
        Form { text }
    }

    /// The text, to be written.
    pub(in crate::providers) fn into_text(self) -> String {
        self.text
    }

    /// The value below a heading: on one line, without our marks. Empty where the heading is missing or has none. Where it
    /// stands twice, both values, since neither is the one.
    pub(in crate::providers) fn value(&self, heading: &str) -> String {
        let values: Vec<String> =
            self.below(heading).iter().map(|section| one_line(&self.text[section.value.clone()])).collect();
        cut(&values.join(" | ")).to_owned()
    }

    /// Whether there is such a heading.
    pub(in crate::providers) fn has(&self, heading: &str) -> bool {
        !self.below(heading).is_empty()
    }

    /// Puts another value below a heading. None where it does not stand there exactly once, with a value on one line.
    pub(in crate::providers) fn set(&mut self, heading: &str, value: &str) -> Option<()> {
        let sections = self.below(heading);
        let [section] = sections.as_slice() else { return None };
        let range = section.value.clone();
        let old = &self.text[range.clone()];
        if old.is_empty() || old.contains('\n') || old.contains(MARK) {
            return None;
        }
        self.text.replace_range(range, value);
        Some(())
    }

    /// The task list's items that are not ticked, as their number and text.
    pub(in crate::providers) fn open_items(&self) -> Vec<String> {
        let mut number = 0;
        let mut open = Vec::new();
        for (line, fenced) in lines(&self.text) {
            let Some((ticked, text)) = task(line).filter(|_| !fenced) else { continue };
            number += 1;
            if !ticked && open.len() < ENTRIES_MAX {
                open.push(cut(&format!("{number} {}", text.trim())).to_owned());
            }
        }
        open
    }

    /// The links below a heading, one list item each: `- [bundle](url) digest`. What has no digest is no evidence link.
    pub(in crate::providers) fn links(&self, heading: &str) -> Vec<EvidenceLink> {
        let sections = self.below(heading);
        let lines = sections.iter().flat_map(|section| lines(&self.text[section.below.clone()]));
        lines.filter(|(_, fenced)| !fenced).filter_map(|(line, _)| link(line)).take(ENTRIES_MAX).collect()
    }

    /// The links anywhere in the text, likewise.
    pub(in crate::providers) fn all_links(&self) -> Vec<EvidenceLink> {
        lines(&self.text).filter(|(_, fenced)| !fenced).filter_map(|(line, _)| link(line)).take(ENTRIES_MAX).collect()
    }

    /// Adds our link behind the others below a heading, which is made where it is missing.
    pub(in crate::providers) fn add_link(&mut self, heading: &str, link: &Link<'_>) {
        let line = link.line();
        let Some(Section { value, below, .. }) = self.below(heading).pop() else {
            let end = self.end();
            let gap = if end == 0 { "" } else { "\n\n" };
            self.text.insert_str(end, &format!("{gap}### {heading}\n\n{line}\n"));
            return;
        };
        let filled = &self.text[value.clone()];
        if filled.is_empty() {
            let before = if self.text[..below.start].ends_with('\n') { "\n" } else { "\n\n" };
            let after = if self.text[below.start..].is_empty() { "" } else { "\n\n" };
            self.text.insert_str(below.start, &format!("{before}{line}{after}"));
        } else if filled == NO_RESPONSE {
            // The form left this. Nobody wrote it.
            self.text.replace_range(value, &line);
        } else {
            let is_list = filled.lines().next_back().is_some_and(|line| line.starts_with("- "));
            self.text.insert_str(value.end, &format!("{}{line}", if is_list { "\n" } else { "\n\n" }));
        }
    }

    /// Whose mark a step has here; the last one, where there are several.
    pub(in crate::providers) fn marking(&self, step: Step) -> Marking {
        let marks = self.marks(step);
        marks.last().map_or(Marking::Unmarked, |(_, marker)| Marking::By(marker.clone()))
    }

    /// Leaves our mark for a step, in the place of an earlier one of ours.
    pub(in crate::providers) fn mark(&mut self, step: Step, marker: &Marker) {
        let marks: Vec<Range<usize>> = self.marks(step).into_iter().map(|(range, _)| range).collect();
        for range in marks.into_iter().rev() {
            self.text.replace_range(range, "");
        }
        let end = self.end();
        let gap = if end == 0 { "" } else { "\n\n" };
        self.text.truncate(end);
        self.text.push_str(&format!("{gap}{}", comment(step, marker)));
    }

    /// Marks of a step that stand on a line of their own; those of links stand behind their link.
    fn marks(&self, step: Step) -> Vec<(Range<usize>, Marker)> {
        let mut found = Vec::new();
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            let range = start..start + line.len();
            start = range.end;
            if let Some(marker) = marker_of(line.trim(), step).filter(|_| found.len() < ENTRIES_MAX) {
                found.push((range, marker));
            }
        }
        found
    }

    /// Where the text ends, but for blanks.
    fn end(&self) -> usize {
        self.text.trim_end().len()
    }

    fn sections(&self) -> Vec<Section<'_>> {
        let mut sections: Vec<Section<'_>> = Vec::new();
        let mut start = 0;
        for (line, fenced) in lines(&self.text) {
            let end = (start + line.len() + 1).min(self.text.len());
            if !fenced && let Some(heading) = heading(line) {
                sections.push(Section { heading, below: end..end, value: end..end });
            } else if let Some(section) = sections.last_mut() {
                section.below.end = end;
            }
            start = end;
        }
        for section in &mut sections {
            let below = &self.text[section.below.clone()];
            let mark = if below.starts_with(MARK) { Some(0) } else { below.find(&format!("\n{MARK}")) };
            let filled = &below[..mark.unwrap_or(below.len())];
            let (blank, value) = (filled.len() - filled.trim_start().len(), filled.trim());
            if !value.is_empty() {
                let from = section.below.start + blank;
                section.value = from..from + value.len();
            }
        }
        sections
    }

    fn below(&self, heading: &str) -> Vec<Section<'_>> {
        let mut sections = self.sections();
        sections.retain(|section| section.heading.eq_ignore_ascii_case(heading));
        sections
    }
}

/// An evidence link of ours.
pub(in crate::providers) struct Link<'a> {
    pub(in crate::providers) bundle: &'a str,
    pub(in crate::providers) digest: &'a str,
    pub(in crate::providers) url: &'a str,
    pub(in crate::providers) marker: &'a Marker,
}

impl Link<'_> {
    /// The line that says it, mark included.
    pub(in crate::providers) fn line(&self) -> String {
        let Link { bundle, digest, url, marker } = self;
        let comment = comment(Step::AttachEvidence, marker);
        format!("- [{}](<{}>) `{digest}` {comment}", escape(bundle), url.replace('>', "%3E").replace('<', "%3C"))
    }
}

/// Lines without their ends, and whether each is inside of a fenced block.
fn lines(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut fence: Option<&str> = None;
    text.split('\n').map(move |line| {
        let trimmed = line.trim_start();
        let marks = ["```", "~~~"].into_iter().find(|marks| trimmed.starts_with(marks));
        let fenced = fence.is_some() || marks.is_some();
        match (fence, marks) {
            (None, Some(marks)) => fence = Some(marks),
            (Some(open), Some(marks)) if open == marks => fence = None,
            _ => {}
        }
        (line, fenced)
    })
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level) && text.starts_with(' ')).then(|| text.trim())
}

fn task(line: &str) -> Option<(bool, &str)> {
    let line = line.trim_start();
    let item = line.strip_prefix(['-', '*', '+']).or_else(|| {
        let digits = line.trim_start_matches(|character: char| character.is_ascii_digit());
        if digits.len() == line.len() { None } else { digits.strip_prefix(['.', ')']) }
    })?;
    let item = item.strip_prefix(' ')?.trim_start();
    for (mark, ticked) in [("[ ] ", false), ("[x] ", true), ("[X] ", true)] {
        if let Some(text) = item.strip_prefix(mark) {
            return Some((ticked, text));
        }
    }
    None
}

/// `- [bundle](url) digest`, and our mark where it is ours.
pub(in crate::providers) fn link(line: &str) -> Option<EvidenceLink> {
    let item = line.trim().strip_prefix(['-', '*', '+'])?.trim_start().strip_prefix('[')?;
    let (bundle, rest) = unescaped(item)?;
    let (url, rest) = match rest.strip_prefix("(<") {
        Some(rest) => rest.split_once(">)")?,
        None => rest.strip_prefix('(')?.split_once(')')?,
    };
    let (digest, mark) = match rest.split_once(MARK) {
        Some((digest, _)) => (digest, &rest[digest.len()..]),
        None => (rest, ""),
    };
    let digest = digest.trim().trim_matches('`');
    if digest.is_empty() || digest.len() > VALUE_MAX || digest.contains(' ') {
        return None;
    }
    let marking = marker_of(mark.trim(), Step::AttachEvidence).map_or(Marking::Unmarked, Marking::By);
    let (bundle, url) = (cut(&bundle).to_owned(), url.to_owned());
    (url.len() <= 2048).then(|| EvidenceLink {
        bundle,
        digest: digest.to_owned(),
        url,
        marking,
        as_read: String::new(),
    })
}

fn comment(step: Step, marker: &Marker) -> String {
    format!("{MARK}{} -->", mark(step, marker))
}

fn marker_of(line: &str, step: Step) -> Option<Marker> {
    marker_in(line.strip_prefix(MARK)?.strip_suffix(" -->")?, step)
}

/// Our mark for a step, as it stands in a comment or in a field of its own. Everything that could end a comment, or a line,
/// is percent-encoded.
pub(in crate::providers) fn mark(step: Step, Marker { key, uid }: &Marker) -> String {
    format!("{step} key={} uid={}", encode(key), encode(uid))
}

/// The mark for a step that a field of its own holds.
pub(in crate::providers) fn marker_in(words: &str, step: Step) -> Option<Marker> {
    let mut words = words.split(' ');
    let named = words.next()? == step.as_str();
    let key = decode(words.next()?.strip_prefix("key=")?)?;
    let uid = decode(words.next()?.strip_prefix("uid=")?)?;
    (named && words.next().is_none()).then_some(Marker { key, uid })
}

/// Whether our mark may stand in a field of its own that holds this: nothing, or an earlier mark of ours. All else is a person's.
pub(in crate::providers) fn takes_mark(held: &str) -> bool {
    let held = held.trim();
    held.is_empty() || Step::ALL.into_iter().any(|step| marker_in(held, step).is_some())
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'@' | b':');
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if plain(byte) {
            out.push(char::from(byte))
        } else {
            out.push_str(&format!("%{byte:02X}"))
        }
        out
    })
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = if *first == b'%' {
            let [high, low, after @ ..] = after else { return None };
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit(*high)? * 16 + digit(*low)?);
            after
        } else {
            bytes.push(*first);
            after
        };
    }
    String::from_utf8(bytes).ok().filter(|text| text.len() <= 512)
}

/// What Markdown would take for something else in a link's text.
fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, character| {
        if matches!(character, '[' | ']' | '`' | '*' | '_' | '<' | '!' | '\\') {
            out.push('\\');
        }
        out.push(character);
        out
    })
}

/// A link's text up to its bracket, and what comes behind that.
fn unescaped(item: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut characters = item.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?.1),
            ']' => return Some((text, &item[position + 1..])),
            _ => text.push(character),
        }
    }
    None
}

/// A value as it is compared: one line, no fence of backticks, and not what a form leaves behind.
fn one_line(text: &str) -> String {
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let inner = words.strip_prefix('`').and_then(|words| words.strip_suffix('`')).filter(|inner| !inner.contains('`'));
    let value = inner.unwrap_or(&words).trim();
    if value == NO_RESPONSE { String::new() } else { value.to_owned() }
}

pub(in crate::providers) fn cut(text: &str) -> &str {
    let mut end = text.len().min(VALUE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests;
