//! Whether the rules and sections of SPEC.md that the code cites exist there.
//!
//! A citation is `SPEC` and what follows it, rules (`R2`) or sections, or a message that begins with its rule, as those
//! of faults do. A rule is defined where it begins an item of a list, in bold; a section is a heading's number.

use std::collections::HashSet;

use crate::finding::Finding;
use crate::tree::Source;

/// The citations of what SPEC.md does not have, and the rules that it has twice.
pub(crate) fn check(spec: &Source, sources: &[Source]) -> Vec<Finding> {
    let (known, mut findings) = definitions(spec);
    for source in sources {
        let unknown = citations(&source.text).into_iter().filter(|citation| !known.contains(citation.target));
        findings.extend(unknown.map(|citation| Finding {
            path: source.path.clone(),
            line: Some(citation.line),
            what: format!("cites {} of SPEC.md, which has no such rule or section", citation.target),
        }));
    }
    findings
}

/// The rules and sections of the specification.
pub(crate) fn rules(spec: &Source) -> HashSet<&str> {
    definitions(spec).0
}

/// The rules and sections of the specification, and what is wrong with them.
fn definitions(spec: &Source) -> (HashSet<&str>, Vec<Finding>) {
    let mut known = HashSet::new();
    let mut findings = Vec::new();
    for (index, line) in spec.text.lines().enumerate() {
        let rule = line.strip_prefix("- **").and_then(|rest| rest.split("**").next()).filter(|name| is_rule(name));
        let section = line.strip_prefix('#').and_then(|rest| rest.trim_start_matches('#').split_whitespace().next());
        let section = section.map(|number| number.trim_end_matches('.')).filter(|number| is_section(number));
        if let Some(name) = rule.or(section)
            && !known.insert(name)
        {
            let what = format!("{name} is defined twice");
            findings.push(Finding { path: spec.path.clone(), line: Some(index + 1), what });
        }
    }
    (known, findings)
}

/// A rule or section that is cited.
#[derive(Debug, PartialEq, Eq)]
struct Citation<'a> {
    target: &'a str,
    line: usize,
}

fn citations(text: &str) -> Vec<Citation<'_>> {
    let mut found = Vec::new();
    let mut citing = false;
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        found.extend(rules_of_messages(line).map(|target| Citation { target, line: line_number }));
        // A citation may go on in the next line of a comment.
        for word in line.trim_start().trim_start_matches(['/', '!']).split_whitespace() {
            let bare = word.trim_matches(|mark: char| mark.is_ascii_punctuation());
            if bare == "SPEC" {
                citing = word.ends_with(bare);
                continue;
            }
            if !citing {
                continue;
            }
            let is_target = is_rule(bare) || is_section(bare);
            if is_target {
                found.push(Citation { target: bare, line: line_number });
            }
            let is_link = matches!(bare, "rule" | "rules" | "section" | "sections" | "and" | "to");
            citing = word.trim_end_matches(',').ends_with(bare) && (is_target || is_link);
        }
    }
    found
}

/// The rules that begin a string in the line, as in `"D6: payload ..."`.
fn rules_of_messages(line: &str) -> impl Iterator<Item = &str> {
    let strings = line.split('"').skip(1);
    strings.filter_map(|string| string.split_once(": ")).map(|(head, _)| head).filter(|head| is_rule(head))
}

/// One capital letter and a number of one or two digits.
pub(crate) fn is_rule(word: &str) -> bool {
    let Some(number) = word.strip_prefix(|letter: char| letter.is_ascii_uppercase()) else {
        return false;
    };
    matches!(number.len(), 1 | 2) && number.bytes().all(|digit| digit.is_ascii_digit())
}

/// Numbers with dots between them.
fn is_section(word: &str) -> bool {
    word.split('.').all(|part| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this sample lacks, the real SPEC.md has: it is this file too that is checked.
    const SPEC: &str =
        "# Title\n## 3. Socket\n- **R2** The *consumer* waits.\n- **R3** (as R4 says)\n### 10.1 Hello\n- **C10** Last.";

    #[track_caller]
    fn check_text(text: &str, expected: &[(usize, &str)]) {
        let spec = Source { path: "SPEC.md".to_owned(), text: SPEC.to_owned() };
        let findings = check(&spec, &[Source { path: "a.rs".to_owned(), text: text.to_owned() }]);
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, (line, target)) in findings.iter().zip(expected) {
            assert_eq!(finding.line, Some(*line), "{finding}");
            assert!(finding.what.contains(&format!("cites {target} of")), "{finding}");
        }
    }

    #[test]
    fn rules_and_sections_that_exist_are_no_breach() {
        check_text("// (SPEC R2, R3), (SPEC section 10.1). SPEC C10: a rule.\nf(\"R2: no {}\")", &[]);
    }

    #[test]
    fn a_rule_that_does_not_exist_is_a_breach() {
        check_text(
            "//! The ring (SPEC R4).\n/// As rule SPEC R2 and S6 have it; D1\n// SPEC C11",
            &[(1, "R4"), (2, "S6"), (3, "C11")],
        );
    }

    #[test]
    fn every_rule_of_a_list_or_a_range_is_checked() {
        check_text("// (SPEC R2, R4,\n// R3 to S5, D7)", &[(1, "R4"), (2, "S5"), (2, "D7")]);
    }

    #[test]
    fn a_section_that_does_not_exist_is_a_breach() {
        check_text("// SPEC section 4. And 5\n// SPEC sections 3 and 10.1, SPEC section 12", &[(1, "4"), (2, "12")]);
    }

    #[test]
    fn the_rule_of_a_message_is_checked() {
        check_text("#[error(\"D6: slot {found}\")]", &[(1, "D6")]);
    }

    #[test]
    fn what_is_no_citation_is_left_alone() {
        check_text("// SPEC.md has R4. The SPEC: D6. A SPEC says D6 (SPEC R2). D6, and \"B\": 4; \"at D6: 3\"", &[]);
    }

    #[test]
    fn a_rule_that_is_defined_twice_is_a_breach() {
        let spec = Source { path: "SPEC.md".to_owned(), text: format!("{SPEC}\n- **R2** Again.") };
        let findings = check(&spec, &[]);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [Some(7)]);
    }
}
