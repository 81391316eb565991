//! TOML, by the crate `toml`: it tells where each value stands, and bounds the nesting.

use ::toml::Spanned;
use ::toml::de::{DeInteger, DeTable, DeValue};

use super::{DEPTH_MAX, Document, Entry, Node, Position, Step, Value};

/// Parses a text, and notes what is wrong.
pub(super) fn parse(text: &str, document: &mut Document) -> Option<Node> {
    let lines = Lines::new(text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let at = error.span().map_or(Position::START, |span| lines.position(span.start));
        document.problem(at, &[], error.message().to_owned());
    }
    let mut reader = Reader { lines, document, path: Vec::new() };
    // What was recovered from a broken file would be told to lack what only could not be read.
    errors.is_empty().then(|| reader.table(root.get_ref(), Position::START))
}

struct Reader<'a> {
    lines: Lines<'a>,
    document: &'a mut Document,
    path: Vec<Step>,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>, at: Position) -> Node {
        let mut entries = Vec::with_capacity(table.len());
        for (key, value) in table {
            self.path.push(Step::from(&**key.get_ref()));
            let key_at = self.lines.position(key.span().start);
            let node = self.node(value, key_at);
            entries.push(Entry { key: key.get_ref().to_string(), key_at, node });
            self.path.pop();
        }
        Node::new(Value::Table(entries), at)
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, key_at: Position) -> Node {
        let at = self.lines.position(value.span().start);
        let value = match value.get_ref() {
            DeValue::String(text) => Value::Text { text: text.to_string(), written: None },
            DeValue::Integer(number) => return self.integer(number, at),
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Float(number),
                _ => return self.refused(at, format!("found {number}, expected a finite number")),
            },
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(time) => Value::Text { text: time.to_string(), written: None },
            DeValue::Array(_) | DeValue::Table(_) if self.path.len() >= DEPTH_MAX => {
                return self.refused(at, format!("is nested deeper than {DEPTH_MAX} levels"));
            }
            DeValue::Array(values) => {
                let mut nodes = Vec::with_capacity(values.len());
                for (index, value) in values.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    nodes.push(self.node(value, at));
                    self.path.pop();
                }
                Value::List(nodes)
            }
            // A table with a header stands where its name does.
            DeValue::Table(table) => return self.table(table, key_at),
        };
        Node::new(value, at)
    }

    fn integer(&mut self, number: &DeInteger<'_>, at: Position) -> Node {
        match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) if (i64::MIN.into()..=u64::MAX.into()).contains(&value) => Node::new(Value::Integer(value), at),
            _ => self.refused(at, "is a number of more than 64 bits".to_owned()),
        }
    }

    fn refused(&mut self, at: Position, message: String) -> Node {
        self.document.problem(at, &self.path, message);
        let node = Node::new(Value::Null, at);
        node.set_aside.set(true);
        node
    }
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn position(&self, byte: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = self.text.get(start..byte).unwrap_or_default();
        Position { line, column: before.chars().count() + 1 }
    }
}
