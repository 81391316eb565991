//! Which package of the workspace may depend on which: edges run one way, from the tools down to the ground.

use crate::finding::Finding;
use crate::manifest::Manifest;

/// Each library, and which of those above it in this table it may depend on. A new edge is a decision: make it here,
/// and say why in ARCHITECTURE.md.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("rapace-core", &[]),
    ("rapace-registry", &[]),
    ("rapace-session", &["rapace-core", "rapace-registry"]),
    ("rapace-service", &["rapace-core", "rapace-registry", "rapace-session"]),
    ("rapace-macros", &[]),
    ("rapace-host-api", &["rapace-service", "rapace-macros"]),
    ("rapace-plugin", &["rapace-core", "rapace-registry", "rapace-session", "rapace-service", "rapace-host-api"]),
    ("rapace-host", &["rapace-core", "rapace-registry", "rapace-session", "rapace-service", "rapace-host-api"]),
    (
        "rapace",
        &[
            "rapace-core",
            "rapace-registry",
            "rapace-session",
            "rapace-service",
            "rapace-macros",
            "rapace-host-api",
            "rapace-plugin",
            "rapace-host",
        ],
    ),
];

/// What stands on top: it may depend on any library, and nothing depends on it.
const TOOLS: &[&str] = &["rapace-examples", "rapace-benches", "rapace-tests", "rapace-fuzz-harness", "xtask"];

/// Where both tables are, for the messages.
const TABLES: &str = "LIBRARIES and TOOLS in xtask/src/edges.rs";

/// The edges that the tables do not have, and the packages that they do not know.
pub(crate) fn check(workspace: &Manifest, packages: &[Manifest]) -> Vec<Finding> {
    packages.iter().flat_map(|package| breaches(package, workspace, packages)).collect()
}

fn breaches(package: &Manifest, workspace: &Manifest, packages: &[Manifest]) -> Vec<Finding> {
    let finding = |what| Finding { path: package.path.clone(), line: None, what };
    let name = package.name();
    let Some(allowed) = allowed(name) else {
        return vec![finding(format!("package {name:?} has no row: give it one ({TABLES})"))];
    };
    package
        .dependencies(workspace)
        .iter()
        .filter(|dependency| packages.iter().any(|package| package.name() == *dependency))
        .filter(|dependency| !allowed.contains(&dependency.as_str()))
        .map(|dependency| {
            let allowed = allowed.join(", ");
            finding(format!("new edge {name} -> {dependency}: {name} may depend on [{allowed}] ({TABLES})"))
        })
        .collect()
}

/// The packages of the workspace that this one may depend on, if the tables know it.
fn allowed(name: &str) -> Option<Vec<&'static str>> {
    if TOOLS.contains(&name) {
        return Some(LIBRARIES.iter().map(|(library, _)| *library).collect());
    }
    LIBRARIES.iter().find(|(library, _)| *library == name).map(|(_, below)| below.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a package of this name and dependency, beside a host and a core.
    #[track_caller]
    fn check_edge(name: &str, dependency: &str, expected: &[&str]) {
        let package = |name: &str, dependencies: &str| {
            Manifest::parse("a/Cargo.toml", &format!("package.name = '{name}'\n[dependencies]\n{dependencies}"))
                .unwrap()
        };
        let workspace = Manifest::parse("Cargo.toml", "").unwrap();
        let packages =
            [package("rapace-core", ""), package("rapace-tests", ""), package(name, &format!("{dependency} = '1'"))];
        let findings: Vec<String> = check(&workspace, &packages).into_iter().map(|finding| finding.what).collect();
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, expected) in findings.iter().zip(expected) {
            assert!(finding.contains(expected) && finding.contains(TABLES), "{finding}");
        }
    }

    #[test]
    fn the_table_has_no_way_up() {
        for (index, (library, below)) in LIBRARIES.iter().enumerate() {
            let before: Vec<&str> = LIBRARIES[..index].iter().map(|(name, _)| *name).collect();
            let up = below.iter().find(|name| !before.contains(name));
            assert_eq!(up, None, "an edge of {library}");
        }
    }

    #[test]
    fn an_edge_down_is_allowed() {
        check_edge("rapace-host", "rapace-core", &[]);
        check_edge("rapace-examples", "rapace-core", &[]);
    }

    #[test]
    fn an_edge_that_the_table_does_not_have_is_a_breach() {
        check_edge("rapace-registry", "rapace-core", &["rapace-registry -> rapace-core"]);
    }

    #[test]
    fn nobody_depends_on_a_tool() {
        check_edge("rapace", "rapace-tests", &["rapace -> rapace-tests"]);
        check_edge("rapace-benches", "rapace-tests", &["rapace-benches -> rapace-tests"]);
    }

    #[test]
    fn a_package_without_a_row_is_a_breach() {
        check_edge("rapace-new", "rapace-core", &["\"rapace-new\" has no row"]);
    }

    #[test]
    fn crates_from_elsewhere_are_no_edges() {
        check_edge("rapace-registry", "thiserror", &[]);
    }
}
