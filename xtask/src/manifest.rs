//! A `Cargo.toml`, and the few questions that the checks ask of it.

use toml::{Table, Value};

/// A manifest: a package's, or the workspace's.
pub(crate) struct Manifest {
    /// Its path, relative to the root.
    pub(crate) path: String,
    table: Table,
}

impl Manifest {
    /// Parses the text of the manifest at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> Result<Self, toml::de::Error> {
        Ok(Self { path: path.to_owned(), table: text.parse()? })
    }

    /// The folders of the workspace's members.
    pub(crate) fn members(&self) -> Vec<&str> {
        let members = self.at(&["workspace", "members"]).and_then(Value::as_array);
        members.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The package's name.
    pub(crate) fn name(&self) -> &str {
        self.at(&["package", "name"]).and_then(Value::as_str).unwrap_or_default()
    }

    /// The packages that users of this one build with it: its dependencies and build dependencies, on any platform,
    /// by the names that they have themselves. Dev-dependencies are not among them.
    pub(crate) fn dependencies(&self, workspace: &Manifest) -> Vec<String> {
        let platforms = self.table.get("target").and_then(Value::as_table);
        let platforms = platforms.into_iter().flat_map(Table::values).filter_map(Value::as_table);
        std::iter::once(&self.table)
            .chain(platforms)
            .flat_map(|table| [table.get("dependencies"), table.get("build-dependencies")])
            .flatten()
            .filter_map(Value::as_table)
            .flatten()
            .map(|(key, dependency)| workspace.package_name(key, dependency))
            .collect()
    }

    /// The value at a path of keys.
    pub(crate) fn at(&self, keys: &[&str]) -> Option<&Value> {
        let (first, rest) = keys.split_first()?;
        rest.iter().try_fold(self.table.get(*first)?, |value, key| value.get(key))
    }

    /// The name of the package that a dependency called `key` is, in a member of this workspace.
    fn package_name(&self, key: &str, dependency: &Value) -> String {
        let inherited = dependency.get("workspace").and_then(|_| self.at(&["workspace", "dependencies", key]));
        let package = inherited.unwrap_or(dependency).get("package").and_then(Value::as_str);
        package.unwrap_or(key).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_dependency_is_known_by_its_own_name() {
        let workspace =
            Manifest::parse("Cargo.toml", "[workspace.dependencies]\nground = { package = 'base', path = 'base' }")
                .unwrap();
        let package = Manifest::parse(
            "a/Cargo.toml",
            "[dependencies]\nground.workspace = true\nup = { package = 'roof', path = '../roof' }\nthiserror = '2'",
        )
        .unwrap();
        assert_eq!(package.dependencies(&workspace), ["base", "thiserror", "roof"]);
    }

    #[test]
    fn dependencies_of_one_platform_and_of_the_build_count_and_those_of_tests_do_not() {
        let workspace = Manifest::parse("Cargo.toml", "").unwrap();
        let package = Manifest::parse(
            "a/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\none = '1'\n[build-dependencies]\ntwo = '1'\n[dev-dependencies]\nthree = '1'",
        )
        .unwrap();
        let mut found = package.dependencies(&workspace);
        found.sort();
        assert_eq!(found, ["one", "two"]);
    }
}
