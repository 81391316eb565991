//! What may not stand in a Rust file: `unsafe` outside its two files, tests that are skipped, code that is not written.
//!
//! Files are split into tokens, so that a word in a comment or a string is not taken for code.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use crate::finding::Finding;
use crate::tree::Source;

/// The files that may have `unsafe`: the one that maps memory, and its model, which stands in for it under loom.
const UNSAFE_FILES: &[&str] = &["rapace-core/src/memory.rs", "rapace-core/tests/loom.rs"];

/// The tokens of a file that should not be there.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut scan = Scan { path: &source.path, findings: Vec::new() };
    match source.text.parse::<TokenStream>() {
        Ok(tokens) => scan.tokens(tokens),
        Err(error) => scan.find(error.span().start().line, format!("no Rust: {error}")),
    }
    scan.findings
}

struct Scan<'a> {
    path: &'a str,
    findings: Vec<Finding>,
}

impl Scan<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            let before = &tokens[..index];
            match token {
                TokenTree::Ident(word) => {
                    let called = tokens.get(index + 1).is_some_and(is_call_of_macro);
                    self.word(&word.to_string(), called, word.span().start().line);
                }
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Bracket && is_attribute(before) {
                        self.attribute(&idents(group.stream()), group.span_open().start().line);
                    }
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    fn word(&mut self, word: &str, called: bool, line: usize) {
        if word == "unsafe" {
            self.unsafe_only_where_it_may(line, "`unsafe`");
        }
        if called && matches!(word, "todo" | "unimplemented") {
            self.find(line, format!("`{word}!`: write it, or leave it out"));
        }
    }

    /// An attribute, given as all the words in it.
    fn attribute(&mut self, words: &[String], line: usize) {
        let has = |wanted: &str| words.iter().any(|word| word == wanted);
        let name = words.first().map(String::as_str).unwrap_or_default();
        if name == "ignore" || (name == "cfg_attr" && has("ignore")) {
            self.find(line, "`#[ignore]`: a test that does not run proves nothing".to_owned());
        }
        if has("unsafe_code") && !matches!(name, "deny" | "forbid") {
            self.unsafe_only_where_it_may(line, "an attribute that lifts the ban on `unsafe_code`");
        }
    }

    fn unsafe_only_where_it_may(&mut self, line: usize, what: &str) {
        if !UNSAFE_FILES.contains(&self.path) {
            let files = UNSAFE_FILES.join(" and ");
            self.find(line, format!("{what} belongs in {files} only (UNSAFE_FILES in xtask/src/tokens.rs)"));
        }
    }

    fn find(&mut self, line: usize, what: String) {
        self.findings.push(Finding { path: self.path.to_owned(), line: Some(line), what });
    }
}

/// Whether a bracket behind these tokens is an attribute: `#[` or `#![`.
fn is_attribute(before: &[TokenTree]) -> bool {
    let is = |token: &TokenTree, sign| matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign);
    match before {
        [.., hash, bang] if is(hash, '#') && is(bang, '!') => true,
        [.., hash] => is(hash, '#'),
        [] => false,
    }
}

/// Whether the token behind a word makes it the call of a macro: a `!` that is not the start of `!=`.
fn is_call_of_macro(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == '!' && punct.spacing() == Spacing::Alone)
}

/// All words in the tokens, at any depth, in order.
fn idents(tokens: TokenStream) -> Vec<String> {
    tokens
        .into_iter()
        .flat_map(|token| match token {
            TokenTree::Ident(word) => vec![word.to_string()],
            TokenTree::Group(group) => idents(group.stream()),
            TokenTree::Punct(_) | TokenTree::Literal(_) => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_text(path: &str, text: &str, expected_lines: &[usize]) {
        let findings = check(&Source { path: path.to_owned(), text: text.to_owned() });
        let lines: Vec<usize> = findings.iter().filter_map(|finding| finding.line).collect();
        assert_eq!(lines, expected_lines, "{findings:?}");
    }

    #[test]
    fn unsafe_code_is_a_breach_outside_its_files() {
        let text = "\nfn f() {\n    unsafe { g() }\n}\nunsafe impl Sync for S {}\n#[unsafe(no_mangle)]\nfn h() {}";
        check_text("rapace-host/src/lib.rs", text, &[3, 5, 6]);
        check_text("rapace-core/src/memory.rs", text, &[]);
        check_text("rapace-core/tests/loom.rs", text, &[]);
    }

    #[test]
    fn unsafe_in_a_comment_a_string_or_a_longer_name_is_no_breach() {
        check_text("a.rs", "//! unsafe\n/* unsafe */\n/// unsafe\nfn unsafe_f() { g(\"unsafe\", r\"unsafe\") }", &[]);
    }

    #[test]
    fn a_ban_that_is_lifted_is_a_breach_outside_its_files() {
        let text = "#![allow(unsafe_code)]\n#[expect(dead_code, unsafe_code)]\nfn f() {}\n\
                    #[cfg_attr(test, allow(unsafe_code))]\nfn g() {}";
        check_text("rapace-host/src/lib.rs", text, &[1, 2, 4]);
        check_text("rapace-core/src/memory.rs", text, &[]);
        check_text("rapace-host/src/lib.rs", "#![forbid(unsafe_code)]\n#![deny(unsafe_code)]", &[]);
    }

    #[test]
    fn an_ignored_test_is_a_breach() {
        check_text("a.rs", "#[ignore]\nfn a() {}\n#[ignore = \"slow\"]\nfn b() {}", &[1, 3]);
        check_text("a.rs", "mod tests {\n    #[cfg_attr(miri, ignore)]\n    fn a() {}\n}", &[2]);
        check_text("a.rs", "#[field(ignore)]\nfn ignore(list: &[u8]) { ignore(&list[ignore]) }", &[]);
    }

    #[test]
    fn code_that_is_not_written_is_a_breach() {
        check_text("a.rs", "fn f() {\n    todo!()\n}\nfn g() { std::unimplemented!(\"later\") }", &[2, 4]);
        check_text("a.rs", "fn f(todo: u8) -> bool { todo != 1 && !matches!(todo, 2) } // todo!()", &[]);
    }

    #[test]
    fn a_file_that_is_no_rust_is_a_breach() {
        check_text("a.rs", "fn f() {\n    )\n}", &[2]);
    }
}
