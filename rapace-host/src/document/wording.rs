//! What was found, what was expected, and which known name is meant.

use super::{Node, Value};

/// So much of a text is shown.
const SHOWN_CHARS: usize = 60;

/// A value, in a message.
pub(super) fn found(node: &Node) -> String {
    match &node.value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text { text, written } => quoted(written.as_ref().unwrap_or(text)),
        Value::List(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}

/// A text between quotation marks, without control characters, of bounded length.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A name of a field, bare where a file may have it so.
pub(super) fn key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.len() <= SHOWN_CHARS && key.chars().all(bare) { key.to_owned() } else { quoted(key) }
}

/// What serde expects, in a user's words.
pub(super) fn expected(serde: &str) -> String {
    let bits = |from: &str, signed: &str| {
        let most = match signed {
            "u8" => u64::from(u8::MAX),
            "u16" => u64::from(u16::MAX),
            "u32" => u64::from(u32::MAX),
            "u64" | "usize" => u64::MAX,
            _ => return None,
        };
        Some(format!("a whole number from {from} to {most}"))
    };
    match serde {
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        _ if serde.starts_with("struct ") => "a table".to_owned(),
        _ => {
            let number = match serde.strip_prefix("a nonzero ") {
                Some(kind) => bits("1", kind),
                None => bits("0", serde),
            };
            number.unwrap_or_else(|| serde.to_owned())
        }
    }
}

/// What to use instead of an unknown name.
pub(super) fn instead(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("expected {}", one_of(known)),
    }
}

pub(super) fn one_of(known: &[&str]) -> String {
    match known {
        [] => "none".to_owned(),
        [only] => (*only).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// The name that differs the least, if it is like enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > SHOWN_CHARS {
        return None;
    }
    let near = |known: &'a str| {
        let edits = edits(&name.to_lowercase().replace('-', "_"), &known.to_lowercase().replace('-', "_"));
        (edits <= 1 + known.chars().count() / 4).then_some((edits, known))
    };
    known.filter_map(near).min_by_key(|(edits, _)| *edits).map(|(_, known)| known)
}

/// The fewest characters to put in, take out, change or swap with their neighbour (optimal string alignment).
fn edits(from: &str, to: &str) -> usize {
    let [from, to]: [Vec<char>; 2] = [from, to].map(|text| text.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<_>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let change = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_names_what_is_meant() {
        let known = ["args", "env", "program", "idle_timeout"];
        for (name, meant) in [
            ("argz", Some("args")),
            ("arsg", Some("args")),
            ("idleTimeout", Some("idle_timeout")),
            ("idle-timeout", Some("idle_timeout")),
            ("porgram", Some("program")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), meant, "{name}");
        }
        assert_eq!(nearest(&"a".repeat(1 << 20), known.into_iter()), None);
    }
}
