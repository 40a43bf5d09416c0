//! A Rust source as the rules see it: the paths it names, without comments, texts and tests.

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};
use std::path::{Path, PathBuf};

/// One file.
pub struct Source {
    /// Relative to the repository.
    pub path: String,
    /// Every path that production code names, from its root: `use a::{b, c}` is two, `super::` is resolved.
    pub paths: Vec<String>,
    /// Calls that end the process.
    pub panics: Vec<String>,
    /// How long it is, with everything.
    pub lines: usize,
}

impl Source {
    /// Reads a source.
    pub fn parse(path: &str, text: &str) -> Result<Source, LexError> {
        let mut source =
            Source { path: path.to_owned(), paths: Vec::new(), panics: Vec::new(), lines: text.lines().count() };
        if !is_test(path) {
            let tokens: Vec<TokenTree> = text.parse::<TokenStream>()?.into_iter().collect();
            source.read(&without_tests(tokens));
        }
        Ok(source)
    }

    /// The part of the library that it belongs to; none for the binary, tests and benches.
    pub fn part(&self) -> Option<&str> {
        if self.path.starts_with("core/src/") {
            return Some("closure");
        }
        let part = self.path.strip_prefix("src/")?.split(['/', '.']).next()?;
        (!matches!(part, "main" | "lib")).then_some(part)
    }

    fn read(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(_) => at = self.read_path(tokens, at, ""),
                TokenTree::Group(group) => {
                    self.read(&without_tests(group.stream().into_iter().collect()));
                    at += 1;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
            }
        }
    }

    /// A path that begins at an identifier. Gives where it ends.
    fn read_path(&mut self, tokens: &[TokenTree], mut at: usize, prefix: &str) -> usize {
        self.read_panic(tokens, at);
        let mut path = prefix.to_owned();
        while let Some(TokenTree::Ident(word)) = tokens.get(at) {
            path = if path.is_empty() { word.to_string() } else { format!("{path}::{word}") };
            at += 1;
            if !(is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')) {
                break;
            }
            at += 2;
            if let Some(TokenTree::Group(group)) = tokens.get(at)
                && group.delimiter() == Delimiter::Brace
            {
                self.read_branches(&group.stream().into_iter().collect::<Vec<_>>(), &path);
                return at + 1;
            }
        }
        let path = self.resolve(&path);
        self.paths.push(path);
        at
    }

    /// `{a, b::{c, d}, self}` behind a prefix.
    fn read_branches(&mut self, tokens: &[TokenTree], prefix: &str) {
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(word) if word == "self" => {
                    let path = self.resolve(prefix);
                    self.paths.push(path);
                    at += 1;
                }
                TokenTree::Ident(_) => at = self.read_path(tokens, at, prefix),
                _ => at += 1,
            }
        }
    }

    fn read_panic(&mut self, tokens: &[TokenTree], at: usize) {
        let word = tokens[at].to_string();
        let called =
            matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
        let method = at > 0 && is_punct(tokens.get(at - 1), '.') && called;
        if method && (word == "unwrap" || word == "expect") {
            self.panics.push(format!(".{word}()"));
        }
        if is_punct(tokens.get(at + 1), '!') && matches!(word.as_str(), "panic" | "todo" | "unimplemented") {
            self.panics.push(format!("{word}!"));
        }
    }

    /// `self::` and `super::` as a path from the root of the library.
    fn resolve(&self, path: &str) -> String {
        let file = self
            .path
            .trim_start_matches("core/")
            .trim_start_matches("src/")
            .trim_end_matches(".rs")
            .trim_end_matches("/mod");
        let mut module: Vec<&str> = if matches!(file, "lib" | "main") { Vec::new() } else { file.split('/').collect() };
        let mut words = path.split("::").peekable();
        if !matches!(words.peek(), Some(&("self" | "super"))) {
            return path.to_owned();
        }
        while let Some(word) = words.next_if(|word| matches!(*word, "self" | "super")) {
            if word == "super" {
                module.pop();
            }
        }
        std::iter::once("crate").chain(module).chain(words).collect::<Vec<_>>().join("::")
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_test(path: &str) -> bool {
    !(path.starts_with("src/") || path.starts_with("core/src/"))
        || path.ends_with("tests.rs")
        || path.contains("/tests/")
}

/// Leaves out what is behind `#[cfg(test)]`: other attributes, then everything up to the item's block or semicolon.
fn without_tests(tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let test = is_punct(Some(&token), '#')
            && matches!(tokens.peek(), Some(TokenTree::Group(group)) if group.stream().to_string().replace(' ', "") == "cfg(test)");
        if !test {
            kept.push(token);
            continue;
        }
        tokens.next();
        for token in tokens.by_ref() {
            let block = matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            if block || is_punct(Some(&token), ';') {
                break;
            }
        }
    }
    kept
}

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files but what is built, relative to the repository.
pub fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(repository().join(&directory)).expect("it is there") {
            let entry = entry.expect("readable");
            let path = directory.join(entry.file_name());
            let name = path.to_str().expect("names here are UTF-8").to_owned();
            match entry.file_type().expect("readable") {
                kind if kind.is_dir() && !matches!(name.as_str(), "target" | ".build" | ".git") => open.push(path),
                // In a linked work tree, .git is a file.
                kind if kind.is_file() && name != ".git" => found.push(name),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Every Rust source.
pub fn sources() -> Vec<Source> {
    let rust = files().into_iter().filter(|file| file.ends_with(".rs"));
    rust.map(|file| {
        let text = std::fs::read_to_string(repository().join(&file)).expect("readable");
        Source::parse(&file, &text).unwrap_or_else(|error| panic!("{file}: {error}"))
    })
    .collect()
}
