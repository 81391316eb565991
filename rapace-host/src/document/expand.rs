//! `${NAME}` in the texts of a file.
//!
//! It is put in after parsing, and what is put in is never parsed: a variable cannot add a field.

use super::{Document, Node, Step, Value};

/// The longest text that variables may make of one, in bytes.
const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// Puts variables into a text: `${NAME}`, `${NAME:-default}` where it is missing or empty; `$$` is a dollar.
///
/// # Errors
///
/// What is wrong, without what the variables hold.
pub(crate) fn expand(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        expanded += before;
        if let Some(behind) = behind.strip_prefix('$') {
            expanded.push('$');
            rest = behind;
            continue;
        }
        let inner = behind.strip_prefix('{').ok_or("a dollar that is meant as one is written $$")?;
        let (inner, behind) = inner.split_once('}').ok_or("${ has no end")?;
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            return Err(format!("{} is not the name of a variable", super::wording::quoted(name)));
        }
        match (environment(name), default) {
            (Some(value), None) => expanded += &value,
            (Some(value), Some(_)) if !value.is_empty() => expanded += &value,
            (_, Some(default)) => expanded += default,
            (None, None) => {
                return Err(format!("the environment has no {name}; ${{{name}:-DEFAULT}} would do without"));
            }
        }
        if expanded.len() > EXPANDED_BYTES_MAX {
            return Err(format!("is longer than {EXPANDED_BYTES_MAX} bytes with its variables"));
        }
        rest = behind;
    }
    Ok(expanded + rest)
}

fn is_name(name: &str) -> bool {
    name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl Document {
    /// Puts variables into all texts, but not into names of fields.
    pub(crate) fn expand(&mut self, environment: &dyn Fn(&str) -> Option<String>) {
        let mut problems = Vec::new();
        visit(&mut self.root, &mut Vec::new(), environment, &mut problems);
        for (path, message) in problems {
            self.refuse(&path, message);
        }
    }
}

fn visit(
    node: &mut Node,
    path: &mut Vec<Step>,
    environment: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<(Vec<Step>, String)>,
) {
    match &mut node.value {
        Value::Text { text, written } if text.contains('$') => match expand(text, environment) {
            Ok(expanded) => *written = Some(std::mem::replace(text, expanded)),
            Err(message) => {
                node.set_aside.set(true);
                problems.push((path.clone(), message));
            }
        },
        Value::List(nodes) => {
            for (index, node) in nodes.iter_mut().enumerate() {
                path.push(Step::Index(index));
                visit(node, path, environment, problems);
                path.pop();
            }
        }
        Value::Table(entries) => {
            for entry in entries {
                path.push(Step::from(&*entry.key));
                visit(&mut entry.node, path, environment, problems);
                path.pop();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_once() {
        let environment = |name: &str| match name {
            "HOME" => Some("/home/ann".to_owned()),
            "EMPTY" => Some(String::new()),
            "SLY" => Some("${HOME}".to_owned()),
            _ => None,
        };
        for (text, expanded) in [
            ("", Ok("")),
            ("${HOME}/x", Ok("/home/ann/x")),
            ("${HOME}${HOME}", Ok("/home/ann/home/ann")),
            ("${SLY}", Ok("${HOME}")),
            ("[${EMPTY}]", Ok("[]")),
            ("${EMPTY:-e}${NONE:-n}${NONE:-}", Ok("en")),
            ("5 $$ and $${HOME}", Ok("5 $ and ${HOME}")),
            ("${NONE}", Err("the environment has no NONE; ${NONE:-DEFAULT} would do without")),
            ("$HOME", Err("a dollar that is meant as one is written $$")),
            ("$", Err("a dollar that is meant as one is written $$")),
            ("${HOME", Err("${ has no end")),
            ("${}", Err("\"\" is not the name of a variable")),
            ("${A B}", Err("\"A B\" is not the name of a variable")),
        ] {
            assert_eq!(expand(text, environment), expanded.map(str::to_owned).map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_text_grows_within_bounds() {
        let error = expand(&"${A}".repeat(1000), |_| Some("a".repeat(10_000))).unwrap_err();
        assert_eq!(error, "is longer than 1048576 bytes with its variables");
    }
}
