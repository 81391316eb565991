//! A file of configuration as a tree in which each value knows where it stands: the same for all formats, so that what is
//! wrong with it is told in the same words, with file, line, column and field.
//!
//! ```text
//!   toml.rs, yaml.rs   text -> tree
//!   expand.rs          ${NAME} in its texts
//!   decode.rs          tree -> a type of serde's, with all that is wrong rather than the first of it
//!   wording.rs         what was found, what was expected, which known name is meant
//! ```

use std::cell::Cell;
use std::fmt;
use std::path::{Path, PathBuf};

mod decode;
pub(crate) mod expand;
mod toml;
mod wording;
mod yaml;

pub(crate) use wording::nearest;

/// The largest file, in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;
/// The deepest nesting of tables and lists.
const DEPTH_MAX: usize = 32;
/// So many problems of a file are told.
const PROBLEMS_MAX: usize = 32;

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// The field, as in `plugins.shout.args[0]`; empty where it is the file as such.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// A line for each.
pub(crate) fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// A line and a character in it, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    line: usize,
    column: usize,
}

impl Position {
    const START: Self = Self { line: 1, column: 1 };
}

/// A value, and where it stands.
#[derive(Debug)]
struct Node {
    value: Value,
    at: Position,
    /// Something is wrong with it, which is told; it is passed over from then on.
    set_aside: Cell<bool>,
}

impl Node {
    fn new(value: Value, at: Position) -> Self {
        Self { value, at, set_aside: Cell::new(false) }
    }

    fn entries(&self) -> &[Entry] {
        if let Value::Table(entries) = &self.value { entries } else { &[] }
    }
}

#[derive(Debug)]
enum Value {
    Null,
    Bool(bool),
    /// Of an `i64` or a `u64`.
    Integer(i128),
    /// Finite.
    Float(f64),
    Text {
        text: String,
        /// What the file says, where variables stood in it: what they hold is not for messages.
        written: Option<String>,
    },
    List(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Debug)]
struct Entry {
    key: String,
    key_at: Position,
    node: Node,
}

/// A step from a value to one within it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// The steps as text.
fn field(steps: &[Step]) -> String {
    let mut field = String::new();
    for step in steps {
        match step {
            Step::Index(index) => field += &format!("[{index}]"),
            Step::Key(key) => {
                if !field.is_empty() {
                    field.push('.');
                }
                field += &wording::key(key);
            }
        }
    }
    field
}

/// A file as a tree, and what is wrong with it so far.
#[derive(Debug)]
pub(crate) struct Document {
    file: PathBuf,
    root: Node,
    problems: Vec<Problem>,
}

impl Document {
    /// Parses TOML.
    pub(crate) fn from_toml(text: &str, file: &Path) -> Self {
        Self::parsed(text, file, toml::parse)
    }

    /// Parses YAML.
    pub(crate) fn from_yaml(text: &str, file: &Path) -> Self {
        Self::parsed(text, file, yaml::parse)
    }

    fn parsed(text: &str, file: &Path, parse: impl FnOnce(&str, &mut Self) -> Option<Node>) -> Self {
        let root = Node::new(Value::Table(Vec::new()), Position::START);
        let mut document = Self { file: file.to_owned(), root, problems: Vec::new() };
        let root = if text.len() > FILE_BYTES_MAX {
            document.problem(Position::START, &[], format!("has more than {FILE_BYTES_MAX} bytes"));
            None
        } else {
            parse(text, &mut document)
        };
        match root {
            Some(root) => document.root = root,
            None => document.root.set_aside.set(true),
        }
        document
    }

    /// Something is wrong there, if that is not known yet.
    pub(crate) fn refuse(&mut self, steps: &[Step], message: impl Into<String>) {
        if steps.is_empty() || !self.is_refused(steps) {
            self.problem(self.position(steps), steps, message.into());
        }
    }

    /// Whether something is wrong with that value, or within it.
    pub(crate) fn is_refused(&self, steps: &[Step]) -> bool {
        let field = field(steps);
        let within = |found: &Problem| {
            found.field.strip_prefix(&field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.problems.iter().any(within)
    }

    /// The keys of a table, those included that something is wrong with.
    pub(crate) fn keys(&self, table: &str) -> impl Iterator<Item = &str> {
        let table = self.root.entries().iter().find(move |entry| entry.key == table);
        table.into_iter().flat_map(|table| table.node.entries()).map(|entry| &*entry.key)
    }

    /// All that is wrong, in the order of the file; or what was made of it.
    pub(crate) fn finish<T>(mut self, made: Option<T>) -> Result<T, Vec<Problem>> {
        self.problems.sort_by(|a, b| (a.line, a.column, &a.field).cmp(&(b.line, b.column, &b.field)));
        match made {
            Some(made) if self.problems.is_empty() => Ok(made),
            _ => Err(self.problems),
        }
    }

    fn problem(&mut self, at: Position, steps: &[Step], message: String) {
        if self.problems.len() < PROBLEMS_MAX {
            let Position { line, column } = at;
            let problem = Problem { file: self.file.clone(), line, column, field: field(steps), message };
            // A parser that has lost its way may say one thing many times.
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
    }

    /// Where that value stands, or else the last on the way to it that does.
    fn position(&self, steps: &[Step]) -> Position {
        let mut node = &self.root;
        for step in steps {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Table(entries)) => {
                    entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.node)
                }
                (Step::Index(index), Value::List(nodes)) => nodes.get(*index),
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        node.at
    }
}
