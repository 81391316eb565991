//! Where two schemas differ: the paths, and what stands there on either side.
//!
//! Both trees are walked together. Fields and variants meet by name, everything else by position.
//! There is a change exactly where the schemas are not equal, and swapping the schemas swaps the
//! sides of each change and nothing else.

use std::collections::HashMap;
use std::fmt;

use postcard_schema::schema::owned::OwnedNamedType;

use crate::pair::{Pair, Side};
use crate::shape::{Label, Node, Parts};
use crate::type_name::array_item;

/// The changes between two schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeChanges {
    /// The first changes, at most [`TypeChanges::LISTED_MAX`].
    pub listed: Vec<TypeChange>,
    /// How many more there are.
    pub more: usize,
}

/// One change between two schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeChange {
    /// Where, as in `.items[].name`: `[]` is an element, `?` the inside of an option, `{key}` and
    /// `{value}` those of a map. Empty where the outermost type itself is another.
    pub path: String,
    /// What.
    pub change: Change,
}

/// What differs at a place in two schemas.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The type is another, or has another name.
    Type(Pair<String>),
    /// A field or a variant has another name and is otherwise the same.
    Name(Pair<String>),
    /// Fields or variants stand in another order, which is another encoding; these are the first
    /// that differ.
    Order(Pair<String>),
    /// One side alone has this.
    Only {
        /// The side that has it.
        side: Side,
        /// The type of the field, or the variant.
        what: String,
    },
}

/// A label, and how often it stood before in the same node: names from a peer may be there twice.
type Key<'a> = (Label<'a>, usize);

/// What is left to do at a node's part, or at the node itself.
enum Step<'a> {
    Compare(Label<'a>, Node<'a>, Node<'a>),
    Only(Side, Label<'a>, Node<'a>),
    Report(Change),
}

impl TypeChanges {
    /// How many changes are listed at most.
    pub const LISTED_MAX: usize = 16;

    /// Compares two schemas. The steps that wait are on the heap, so that deep schemas take no deep
    /// stack.
    pub(crate) fn between(ours: &OwnedNamedType, theirs: &OwnedNamedType) -> Self {
        let (mut path, mut waiting) = (Vec::new(), Vec::new());
        let mut changes = Self { listed: Vec::new(), more: 0 };
        let wait = |waiting: &mut Vec<_>, depth: usize, steps: Vec<_>| {
            waiting.extend(steps.into_iter().rev().map(|step| (depth, step)));
        };
        wait(&mut waiting, 0, steps(Node::Type(ours), Node::Type(theirs)));
        while let Some((depth, step)) = waiting.pop() {
            path.truncate(depth);
            match step {
                Step::Compare(label, ours, theirs) => {
                    path.push(label);
                    wait(&mut waiting, path.len(), steps(ours, theirs));
                }
                Step::Only(side, label, node) => {
                    path.push(label);
                    let what = node.brief();
                    changes.report(&path, Change::Only { side, what });
                }
                Step::Report(change) => changes.report(&path, change),
            }
        }
        changes
    }

    fn report(&mut self, path: &[Label<'_>], change: Change) {
        if self.listed.len() == Self::LISTED_MAX {
            self.more += 1;
            return;
        }
        let path = path.iter().map(Label::to_string).collect();
        self.listed.push(TypeChange { path, change });
    }
}

/// What differs between two nodes, and which of their parts are to be compared.
fn steps<'a>(ours: Node<'a>, theirs: Node<'a>) -> Vec<Step<'a>> {
    let (our_parts, their_parts) = (ours.parts(), theirs.parts());
    let positional = |parts: &Parts<'_>| matches!(parts.first(), None | Some((Label::Index(_), _)));
    let resized = our_parts.len() != their_parts.len() && positional(&our_parts) && positional(&their_parts);
    if ours.form() != theirs.form() || resized {
        return vec![Step::Report(Change::Type(apart(ours, theirs)))];
    }
    let mut steps = Vec::new();
    if ours.name() != theirs.name() {
        steps.push(Step::Report(Change::Type(renamed(ours, theirs))));
    }
    match (item(ours), item(theirs)) {
        (Some(ours), Some(theirs)) => steps.push(Step::Compare(Label::Element, ours, theirs)),
        _ => match_parts(&our_parts, &their_parts, &mut steps),
    }
    steps
}

fn match_parts<'a>(ours: &Parts<'a>, theirs: &Parts<'a>, steps: &mut Vec<Step<'a>>) {
    let (our_keys, their_keys) = (keys(ours), keys(theirs));
    if our_keys == their_keys {
        let both = ours.iter().zip(theirs);
        steps.extend(both.map(|(ours, theirs)| Step::Compare(ours.0, ours.1, theirs.1)));
        return;
    }
    let (our_places, their_places) = (places(&our_keys), places(&their_keys));
    let is_renamed = |place: usize| {
        let (Some(our_key), Some(their_key)) = (our_keys.get(place), their_keys.get(place)) else {
            return false;
        };
        let unmatched = !their_places.contains_key(our_key) && !our_places.contains_key(their_key);
        unmatched && ours[place].1.same_content(theirs[place].1)
    };
    for key in in_order(&our_keys, &their_keys) {
        match (our_places.get(key), their_places.get(key)) {
            (Some(&our_place), Some(&their_place)) => {
                let (ours, theirs) = (ours[our_place].1, theirs[their_place].1);
                steps.push(Step::Compare(key.0, ours, theirs));
            }
            (Some(&place), None) if is_renamed(place) => {
                let names = labels(ours[place].0, theirs[place].0);
                steps.push(Step::Report(Change::Name(names)));
            }
            (None, Some(&place)) if is_renamed(place) => {}
            (Some(&place), None) => steps.push(Step::Only(Side::Ours, key.0, ours[place].1)),
            (None, Some(&place)) => steps.push(Step::Only(Side::Theirs, key.0, theirs[place].1)),
            (None, None) => {}
        }
    }
    let common_ours = our_keys.iter().filter(|key| their_places.contains_key(key));
    let common_theirs = their_keys.iter().filter(|key| our_places.contains_key(key));
    if let Some((ours, theirs)) = common_ours.zip(common_theirs).find(|(ours, theirs)| ours != theirs) {
        steps.push(Step::Report(Change::Order(labels(ours.0, theirs.0))));
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(types) => types.fmt(f),
            Self::Name(names) => write!(f, "named {names}"),
            Self::Order(first) => write!(f, "another order: first {first}"),
            Self::Only { side, what } => write!(f, "{what} {side}"),
        }
    }
}

/// Two nodes of different form or length. Where their names do not tell them apart, their forms do.
fn apart(ours: Node<'_>, theirs: Node<'_>) -> Pair<String> {
    let names = pair(ours, theirs, Node::brief);
    if names.ours != names.theirs {
        return names;
    }
    pair(ours, theirs, |node| format!("{} ({} of {})", node.brief(), node.form(), node.parts().len()))
}

/// Two types of one form with different names. Where they read the same, the bare names tell them
/// apart.
fn renamed(ours: Node<'_>, theirs: Node<'_>) -> Pair<String> {
    let names = pair(ours, theirs, Node::brief);
    if names.ours != names.theirs {
        return names;
    }
    pair(ours, theirs, |node| format!("{:?}", node.name().unwrap_or_default()))
}

fn pair<'a>(ours: Node<'a>, theirs: Node<'a>, show: impl Fn(Node<'a>) -> String) -> Pair<String> {
    Pair { ours: show(ours), theirs: show(theirs) }
}

fn labels(ours: Label<'_>, theirs: Label<'_>) -> Pair<String> {
    let bare = |label: Label<'_>| label.to_string().trim_start_matches('.').to_owned();
    Pair { ours: bare(ours), theirs: bare(theirs) }
}

/// The item of an array, so that `[u8; 32]` against `[u16; 32]` is one change.
fn item(node: Node<'_>) -> Option<Node<'_>> {
    let Node::Type(ty) = node else { return None };
    array_item(ty).map(Node::Type)
}

fn keys<'a>(parts: &Parts<'a>) -> Vec<Key<'a>> {
    let mut seen = HashMap::new();
    let key = |(label, _): &(Label<'a>, Node<'a>)| {
        let count: &mut usize = seen.entry(*label).or_default();
        *count += 1;
        (*label, *count - 1)
    };
    parts.iter().map(key).collect()
}

fn places<'a>(keys: &[Key<'a>]) -> HashMap<Key<'a>, usize> {
    keys.iter().enumerate().map(|(place, key)| (*key, place)).collect()
}

/// All keys by the first place where either side has them, which is the same seen from both sides.
fn in_order<'k, 'a>(ours: &'k [Key<'a>], theirs: &'k [Key<'a>]) -> Vec<&'k Key<'a>> {
    let mut first_places: HashMap<&Key<'a>, usize> = HashMap::new();
    for (place, key) in ours.iter().enumerate().chain(theirs.iter().enumerate()) {
        let first = first_places.entry(key).or_insert(place);
        *first = place.min(*first);
    }
    let mut ordered: Vec<_> = first_places.into_iter().collect();
    ordered.sort_unstable_by_key(|(key, place)| (*place, *key));
    ordered.into_iter().map(|(key, _)| key).collect()
}
