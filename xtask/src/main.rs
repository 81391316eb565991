//! The checks that no compiler makes: which crate may depend on which, where `unsafe` lives, which tests are skipped,
//! and whether the rules that the code cites exist.
//!
//! `cargo run -p xtask -- check` prints each breach with its place; `cargo test --workspace` runs the same checks.
//! `cargo run -p xtask -- instructions` counts what a call takes, and fails when that has grown. `cargo run -p xtask -- claims`
//! takes each guarantee of SECURITY.md away, and fails when no test notices.

mod citations;
mod claims;
mod edges;
mod finding;
mod instructions;
mod lints;
mod manifest;
mod tokens;
mod tree;

use std::process::ExitCode;

use finding::Finding;
use tree::{Tree, TreeError};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((command, [])) if command == "check" => run_checks(),
        Some((command, arguments)) if command == "instructions" => exit(instructions::instructions(arguments)),
        Some((command, arguments)) if command == "claims" => exit(claims::claims(arguments)),
        _ => {
            for usage in ["check", claims::USAGE, instructions::USAGE] {
                eprintln!("usage: cargo run -p xtask -- {usage}");
            }
            ExitCode::from(2)
        }
    }
}

fn exit<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_checks() -> ExitCode {
    match check() {
        Ok(findings) if findings.is_empty() => {
            println!("xtask: edges, lints, tokens, citations and claims are as they should be");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            eprintln!("xtask: {} breaches", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Every breach of every check in this workspace.
fn check() -> Result<Vec<Finding>, TreeError> {
    let tree = Tree::read()?;
    let mut findings = edges::check(&tree.workspace, &tree.packages);
    findings.extend(lints::check(&tree.workspace, &tree.packages));
    findings.extend(tree.sources.iter().flat_map(tokens::check));
    findings.extend(citations::check(&tree.spec, &tree.sources));
    findings.extend(claims::check(&tree));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_passes_every_check() {
        let findings = super::check().unwrap();
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}", lines.join("\n"));
    }
}
