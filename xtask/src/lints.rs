//! Whether the workspace's lints, and with them the ban on `unsafe`, hold in every member.

use toml::Value;

use crate::finding::Finding;
use crate::manifest::Manifest;

/// The members that do not inherit the lints, and the workspace itself if it allows `unsafe`.
pub(crate) fn check(workspace: &Manifest, packages: &[Manifest]) -> Vec<Finding> {
    let banned = workspace.at(&["workspace", "lints", "rust", "unsafe_code"]).and_then(Value::as_str);
    let workspace = (!matches!(banned, Some("deny" | "forbid"))).then(|| Finding {
        path: workspace.path.clone(),
        line: None,
        what: format!("[workspace.lints.rust] has unsafe_code = {banned:?}, but it must be \"deny\""),
    });
    let inherits = |package: &&Manifest| package.at(&["lints", "workspace"]).and_then(Value::as_bool) == Some(true);
    let packages = packages.iter().filter(|package| !inherits(package)).map(|package| Finding {
        path: package.path.clone(),
        line: None,
        what: "the workspace's lints are not inherited: add `[lints]` with `workspace = true`".to_owned(),
    });
    workspace.into_iter().chain(packages).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_manifests(workspace: &str, package: &str, expected: &[&str]) {
        let workspace = Manifest::parse("Cargo.toml", workspace).unwrap();
        let package = Manifest::parse("a/Cargo.toml", package).unwrap();
        let places: Vec<String> = check(&workspace, &[package]).into_iter().map(|finding| finding.path).collect();
        assert_eq!(places, expected);
    }

    const DENIED: &str = "[workspace.lints.rust]\nunsafe_code = 'deny'";
    const INHERITED: &str = "[lints]\nworkspace = true";

    #[test]
    fn lints_that_are_inherited_are_no_breach() {
        check_manifests(DENIED, INHERITED, &[]);
    }

    #[test]
    fn a_member_without_the_lints_is_a_breach() {
        check_manifests(DENIED, "", &["a/Cargo.toml"]);
        check_manifests(DENIED, "[lints]\nworkspace = false", &["a/Cargo.toml"]);
    }

    #[test]
    fn a_workspace_that_does_not_deny_unsafe_code_is_a_breach() {
        check_manifests("", INHERITED, &["Cargo.toml"]);
        check_manifests("[workspace.lints.rust]\nunsafe_code = 'warn'", INHERITED, &["Cargo.toml"]);
    }
}
