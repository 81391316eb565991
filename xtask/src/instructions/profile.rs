//! Reads what callgrind writes: instructions by function and source line.
//!
//! The format is line by line: `fn=`, `fl=`, `fi=` and `fe=` say where the costs that follow belong; each cost is a line
//! number (absolute, relative with a sign, or `*` for the last) and a count. The line behind `calls=` is the cost of what was
//! called, which stands at its own function once more. Names are given once, as `(7) name`, and are `(7)` from then on.

use std::collections::{BTreeMap, HashMap};

use thiserror::Error;

/// Why a profile cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum ProfileError {
    /// A cost is not two numbers.
    #[error("line {line}: found the cost {found:?}, expected a source line and a count")]
    Cost {
        /// Where, from 1.
        line: usize,
        /// What is there.
        found: String,
    },
    /// A name is referred to that was not given.
    #[error("line {line}: found the name {found:?}, expected one that was given before")]
    Name {
        /// Where, from 1.
        line: usize,
        /// What is there.
        found: String,
    },
    /// Nothing was counted.
    #[error("found no instructions, expected some: is the function that they are counted in still there?")]
    Empty,
}

/// Where instructions were executed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    function: String,
    file: String,
    line: u64,
}

/// Instructions by place.
#[derive(Debug)]
pub(crate) struct Profile {
    costs: HashMap<Place, u64>,
}

impl Profile {
    /// Reads it.
    pub(crate) fn parse(text: &str) -> Result<Self, ProfileError> {
        let mut names = Names::default();
        let mut place = Place { function: String::new(), file: String::new(), line: 0 };
        let mut costs = HashMap::new();
        let mut of_callee = false;
        for (number, text) in (1..).zip(text.lines()) {
            if let Some((key, value)) = text.split_once('=') {
                match key {
                    "fn" => place.function = names.resolve(Space::Function, value, number)?,
                    "cfn" => drop(names.resolve(Space::Function, value, number)?),
                    "fl" | "fi" | "fe" => place.file = names.resolve(Space::File, value, number)?,
                    "cfl" | "cfi" => drop(names.resolve(Space::File, value, number)?),
                    "calls" => of_callee = true,
                    _ => {}
                }
            } else if text.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let (line, cost) = cost(text, place.line)
                    .ok_or_else(|| ProfileError::Cost { line: number, found: text.to_owned() })?;
                place.line = line;
                if !std::mem::take(&mut of_callee) {
                    let sum: &mut u64 = costs.entry(place.clone()).or_default();
                    *sum = sum.saturating_add(cost);
                }
            }
        }
        if costs.is_empty() { Err(ProfileError::Empty) } else { Ok(Self { costs }) }
    }

    /// All instructions.
    pub(crate) fn total(&self) -> u64 {
        self.costs.values().fold(0, |sum, cost| sum.saturating_add(*cost))
    }

    /// The instructions of each function, with what was inlined into it.
    pub(crate) fn by_function(&self) -> BTreeMap<String, u64> {
        self.by(|place| place.function.clone())
    }

    /// The instructions of each source line in each function.
    pub(crate) fn by_line(&self) -> BTreeMap<String, u64> {
        self.by(|Place { function, file, line }| format!("{file}:{line} in {function}"))
    }

    fn by(&self, name: impl Fn(&Place) -> String) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        for (place, cost) in &self.costs {
            let sum: &mut u64 = sums.entry(name(place)).or_default();
            *sum = sum.saturating_add(*cost);
        }
        sums
    }
}

/// A source line, given the last one, and a count.
fn cost(text: &str, last: u64) -> Option<(u64, u64)> {
    let mut words = text.split_ascii_whitespace();
    let line = match words.next()? {
        "*" => last,
        word => match word.strip_prefix('+') {
            Some(more) => last.checked_add(more.parse().ok()?)?,
            None => match word.strip_prefix('-') {
                Some(less) => last.checked_sub(less.parse().ok()?)?,
                None => word.parse().ok()?,
            },
        },
    };
    // A line whose function has no line numbers has no count either.
    Some((line, words.next().map_or(Ok(0), str::parse).ok()?))
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Space {
    Function,
    File,
}

/// Names that were given.
#[derive(Default)]
struct Names(HashMap<(Space, String), String>);

impl Names {
    fn resolve(&mut self, space: Space, value: &str, line: usize) -> Result<String, ProfileError> {
        let Some((id, name)) = value.strip_prefix('(').and_then(|rest| rest.split_once(')')) else {
            return Ok(value.to_owned());
        };
        let (key, name) = ((space, id.to_owned()), name.trim());
        if name.is_empty() {
            return self.0.get(&key).cloned().ok_or_else(|| ProfileError::Name { line, found: value.to_owned() });
        }
        self.0.insert(key, name.to_owned());
        Ok(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two functions, of which the first calls the second and has a line of another file in it.
    const TEXT: &str = "\
# callgrind format
version: 1
positions: line
events: Ir
summary: 117

ob=(1) program
fl=(1) a.rs
fn=(1) a::one
10 3
+2 4
fi=(2) b.rs
-5 2
fe=(1)
cfi=(2)
cfn=(2) b::two
calls=5 30
* 100
* 1

fl=(2)
fn=(2)
30 100
fn=(3) a::one
12 7

totals: 117
";

    fn sums(rows: BTreeMap<String, u64>) -> Vec<(String, u64)> {
        rows.into_iter().collect()
    }

    #[test]
    fn what_a_function_calls_does_not_count_to_it() {
        let profile = Profile::parse(TEXT).unwrap();
        assert_eq!(profile.total(), 117);
        assert_eq!(sums(profile.by_function()), [("a::one".to_owned(), 17), ("b::two".to_owned(), 100)]);
    }

    #[test]
    fn costs_stand_at_the_lines_that_they_were_written_in() {
        let profile = Profile::parse(TEXT).unwrap();
        let expected = [
            ("a.rs:10 in a::one", 3),
            ("a.rs:12 in a::one", 4),
            ("a.rs:7 in a::one", 1),
            ("b.rs:12 in a::one", 7),
            ("b.rs:30 in b::two", 100),
            ("b.rs:7 in a::one", 2),
        ];
        assert_eq!(sums(profile.by_line()), expected.map(|(name, cost)| (name.to_owned(), cost)));
    }

    #[test]
    fn what_is_no_profile_is_refused_by_its_line() {
        let check = |text: &str, expected: ProfileError| assert_eq!(Profile::parse(text).unwrap_err(), expected);
        check("fn=(1) a\n3 x", ProfileError::Cost { line: 2, found: "3 x".to_owned() });
        check("-3 1", ProfileError::Cost { line: 1, found: "-3 1".to_owned() });
        check("+18446744073709551615 1\n+1 1", ProfileError::Cost { line: 2, found: "+1 1".to_owned() });
        check("\nfn=(1)", ProfileError::Name { line: 2, found: "(1)".to_owned() });
        check("fl=(1) a\nfn=(1)", ProfileError::Name { line: 2, found: "(1)".to_owned() });
        check("version: 1\ntotals: 0", ProfileError::Empty);
    }

    #[test]
    fn counts_beyond_all_bounds_do_not_overflow() {
        let most = u64::MAX;
        let profile = Profile::parse(&format!("fn=a\n1 {most}\n1 {most}\n2 {most}")).unwrap();
        assert_eq!((profile.total(), profile.by_function()["a"]), (most, most));
    }
}
