//! What is cheap to know of the claims: that the list is sound and that SECURITY.md shows it. Whether the tests notice
//! what they should is known by running them.

use std::collections::HashSet;

use super::list::{self, Claim, Claims, Test};
use super::table;
use crate::citations;
use crate::finding::Finding;
use crate::tree::Tree;

/// What is wrong with the list of claims, or with the table that shows it.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let claims = match Claims::parse(&tree.claims.text) {
        Ok(claims) => claims,
        Err(error) => return vec![finding(list::PATH, format!("no list of claims: {error}"))],
    };
    let mut findings = names(&claims);
    findings.extend(claims.claims().flat_map(|claim| of_claim(claim, tree)));
    findings.extend(rules(&claims, tree));
    match table::insert(&tree.security.text, &claims) {
        Some(text) if text == tree.security.text => {}
        Some(_) => findings.push(finding(
            table::PATH,
            format!("the table is not that of {}: write it by `cargo run -p xtask -- claims --table`", list::PATH),
        )),
        None => {
            findings.push(finding(table::PATH, format!("the lines {} and {} are missing", table::BEGIN, table::END)))
        }
    }
    findings
}

/// What keeps a mutation from being made: its text is not there, or not once.
pub(crate) fn occurrences(text: &str, find: &str) -> Result<(), String> {
    match text.matches(find).count() {
        1 => Ok(()),
        count => Err(format!("its text stands there {count} times, and must once: {find:?}")),
    }
}

fn finding(path: &str, what: String) -> Finding {
    Finding { path: path.to_owned(), line: None, what }
}

/// Names that are there twice.
fn names(claims: &Claims) -> Vec<Finding> {
    let mut seen = HashSet::new();
    let twice = claims.claims().filter(|claim| !seen.insert(claim.id.as_str()));
    twice.map(|claim| finding(list::PATH, format!("{} is claimed twice", claim.id))).collect()
}

/// What is wrong with one claim.
fn of_claim(claim: &Claim, tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    if claim.mutations.is_empty() {
        found.push("it has no mutation".to_owned());
    }
    for mutation in &claim.mutations {
        match tree.sources.iter().find(|source| source.path == mutation.file) {
            Some(source) => found
                .extend(occurrences(&source.text, &mutation.find).err().map(|what| format!("{}: {what}", source.path))),
            None => found.push(format!("there is no Rust file {}", mutation.file)),
        }
        if mutation.find == mutation.replace {
            found.push(format!("the mutation changes nothing: {:?}", mutation.find));
        }
        if !exists(&mutation.test, tree) {
            let Test { package, program, name } = &mutation.test;
            found.push(format!("there is no test {package} {program} {name}"));
        }
    }
    found.into_iter().map(|what| finding(list::PATH, format!("{}: {what}", claim.id))).collect()
}

/// Rules that are claimed and do not exist, and faults of SPEC.md that no claim is about.
fn rules(claims: &Claims, tree: &Tree) -> Vec<Finding> {
    let known = citations::rules(&tree.spec);
    let claimed: HashSet<&str> = claims.claims().flat_map(|claim| &claim.rules).map(String::as_str).collect();
    let unknown = claimed.iter().filter(|rule| !known.contains(*rule));
    let unknown = unknown.map(|rule| finding(list::PATH, format!("{rule} is no rule of {}", tree.spec.path)));
    let missing = faults(&tree.spec.text).into_iter().filter(|rule| !claimed.contains(rule));
    let missing =
        missing.map(|rule| finding(list::PATH, format!("a breach of {rule} is a fault, and nothing is claimed of it")));
    unknown.chain(missing).collect()
}

/// The rules of the table of faults: the first cells of the rows behind its head.
fn faults(spec: &str) -> Vec<&str> {
    let rows = spec.lines().skip_while(|line| !line.starts_with("| fault ")).skip(2);
    let cells = rows.map_while(|line| line.strip_prefix("| ")).filter_map(|row| row.split(" | ").next());
    cells.flat_map(|cell| cell.split([',', ';', ' '])).filter(|word| citations::is_rule(word)).collect()
}

/// Whether the sources of the test's program have a function of its name.
fn exists(test: &Test, tree: &Tree) -> bool {
    let Some(package) = tree.packages.iter().find(|package| package.name() == test.package) else { return false };
    let folder = package.path.trim_end_matches("Cargo.toml");
    let name = test.name.rsplit("::").next().unwrap_or_default();
    let (file, inside) = match test.program.as_str() {
        "lib" => (String::new(), format!("{folder}src/")),
        program => (format!("{folder}tests/{program}.rs"), format!("{folder}tests/{program}/")),
    };
    let mut sources = tree.sources.iter().filter(|source| source.path == file || source.path.starts_with(&inside));
    sources.any(|source| source.text.contains(&format!("fn {name}(")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings about the tree with its list, or its table, changed.
    fn check_changed(change: impl FnOnce(&mut Tree)) -> Vec<String> {
        let mut tree = Tree::read().unwrap();
        change(&mut tree);
        check(&tree).into_iter().map(|finding| finding.what).collect()
    }

    /// Changes the first mutation of the list.
    fn with_first(key: &str, value: &str) -> Vec<String> {
        check_changed(|tree| {
            let (before, rest) = tree.claims.text.split_once(&format!("\n{key} = ")).unwrap();
            let rest = match rest.strip_prefix("'''") {
                Some(long) => long.split_once("'''"),
                None => rest.split_once('\n'),
            };
            tree.claims.text = format!("{before}\n{key} = {value}\n{}", rest.unwrap().1);
        })
    }

    #[track_caller]
    fn check_found(findings: &[String], part: &str) {
        assert!(findings.iter().any(|what| what.contains(part)), "{part:?} is not in {findings:#?}");
    }

    #[test]
    fn a_mutation_is_of_a_text_that_stands_in_a_rust_file_once() {
        check_found(&with_first("find", "'no such text'"), "its text stands there 0 times");
        check_found(&with_first("find", "'fn '"), "times, and must once: \"fn \"");
        check_found(&with_first("file", "'SPEC.md'"), "there is no Rust file SPEC.md");
    }

    #[test]
    fn a_test_is_one_that_exists() {
        check_found(
            &with_first("test", "'rapace-core lib no_such_test'"),
            "there is no test rapace-core lib no_such_test",
        );
        check_found(&with_first("test", "'no-such lib tests::a'"), "there is no test no-such");
        let elsewhere = "'rapace-core segment words_are_shared'";
        check_found(&with_first("test", elsewhere), "there is no test rapace-core segment words_are_shared");
    }

    #[test]
    fn rules_exist_and_no_fault_is_left_out() {
        check_found(&with_first("rules", "['O99']"), "O99 is no rule of SPEC.md");
        let fewer = check_changed(|tree| tree.claims.text = tree.claims.text.replace("\"K7\"", "\"K6\""));
        check_found(&fewer, "a breach of K7 is a fault, and nothing is claimed of it");
    }

    #[test]
    fn the_rules_of_the_table_of_faults_are_found() {
        let spec = "| a | b |\n|---|---|\n| Z1 | x |\n\n| fault | found in |\n|---|---|\n| D1 | s |\n| D2, D3 | d |\n\
                    | C1, C3; C12, C13 of a request | r |\n\n| E1 | x |";
        assert_eq!(faults(spec), ["D1", "D2", "D3", "C1", "C3", "C12", "C13"]);
    }

    #[test]
    fn a_name_stands_for_one_claim() {
        let twice = check_changed(|tree| {
            let copy = tree.claims.text.split_once("[[section]]").unwrap().1.to_owned();
            tree.claims.text += &format!("\n[[section]]{copy}");
        });
        check_found(&twice, "is claimed twice");
    }

    #[test]
    fn the_table_is_that_of_the_list() {
        check_found(&with_first("guarantee", "'Another.'"), "the table is not that of spec/claims.toml");
        check_found(&check_changed(|tree| tree.security.text.clear()), "are missing");
        check_found(&check_changed(|tree| tree.claims.text.push('[')), "no list of claims");
    }
}
