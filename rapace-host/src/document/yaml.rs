//! YAML, by the crate `serde-saphyr`, which bounds what a text can cost.
//!
//! Anchors, aliases and merge keys are refused: a short text could stand for any amount of them, and TOML has none.

use std::fmt;
use std::thread::{self, ScopedJoinHandle};

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::{MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, Location, Spanned, UserMessageFormatter};

use super::{DEPTH_MAX, Document, Entry, FILE_BYTES_MAX, Node, Position, Value};

/// The most values in a file.
const NODES_MAX: usize = 100_000;

/// So much of a message is told.
const MESSAGE_CHARS_MAX: usize = 200;

/// The parser's stack: a level of nesting takes it 40 KiB without optimisation, and a caller's thread may have little.
const STACK_BYTES: usize = 8 << 20;

/// Parses a text, and notes what is wrong.
pub(super) fn parse(text: &str, document: &mut Document) -> Option<Node> {
    let parsed = thread::scope(|scope| {
        let thread = thread::Builder::new().name("rapace-yaml".to_owned()).stack_size(STACK_BYTES);
        let tree = thread.spawn_scoped(scope, || tree(text)).map(ScopedJoinHandle::join);
        match tree {
            Ok(Ok(tree)) => tree,
            Ok(Err(_)) => Err((Position::START, "the parser has failed".to_owned())),
            Err(error) => Err((Position::START, format!("no thread can be started to parse it: {error}"))),
        }
    });
    parsed.map_err(|(at, message)| document.problem(at, &[], message)).ok()
}

fn tree(text: &str) -> Result<Node, (Position, String)> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * NODES_MAX,
            max_nodes: NODES_MAX,
            max_aliases: 0,
            max_anchors: 0,
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_documents: 1,
            max_total_scalar_bytes: FILE_BYTES_MAX,
        },
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| (error.location().map_or(Position::START, position), message(&error)))
}

fn position(location: Location) -> Position {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    Position { line: number(location.line()), column: number(location.column()) }
}

fn message(error: &Error) -> String {
    match error.without_snippet() {
        Error::Budget { breach: BudgetBreach::Anchors { .. } | BudgetBreach::Aliases { .. }, .. } => {
            "anchors and aliases are not taken".to_owned()
        }
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => format!("is nested deeper than {DEPTH_MAX} levels"),
        Error::Budget { breach: BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. }, .. } => {
            format!("has more than {NODES_MAX} values")
        }
        Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => "has more than one document".to_owned(),
        other => {
            let told = other.render_with_formatter(&UserMessageFormatter);
            // The place is told before it, and it may quote any amount of the text.
            let message = told.rsplit_once(" at line ").map_or(&*told, |(message, _)| message);
            message.chars().take(MESSAGE_CHARS_MAX).collect()
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self::new(value, position(referenced)))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        let fits = (i64::MIN.into()..=u64::MAX.into()).contains(&value);
        if fits { Ok(Value::Integer(value)) } else { Err(E::custom("is a number of more than 64 bits")) }
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        self.visit_i128(i128::try_from(value).unwrap_or(i128::MAX))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        if value.is_finite() { Ok(Value::Float(value)) } else { Err(E::custom("is not a finite number")) }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text { text: text.to_owned(), written: None })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = elements.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let (key_at, key) = (position(key.referenced), key.value);
            let mut node: Node = map.next_value()?;
            if matches!(node.value, Value::Null) {
                // What is not there has no place of its own.
                node.at = key_at;
            }
            entries.push(Entry { key, key_at, node });
        }
        Ok(Value::Table(entries))
    }
}
