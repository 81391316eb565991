//! Reads Prometheus's text format, and takes nothing that it does not allow.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a value, in order.
type Labels = Vec<(String, String)>;

/// The values of a text by name and labels, as they stand there, with the labels in order.
#[derive(Debug)]
pub(crate) struct Exposition {
    types: BTreeMap<String, String>,
    values: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Reads a text; panics where it is wrong.
    pub(crate) fn read(text: &str) -> Self {
        let mut read = Self { types: BTreeMap::new(), values: BTreeMap::new() };
        assert!(text.ends_with('\n'), "the last line has no end");
        let mut helped = BTreeSet::new();
        // A family's lines stand together.
        let (mut family, mut done) = (String::new(), BTreeSet::new());
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some("HELP"), Some(name), Some(_)) => {
                    check_name(name);
                    assert!(helped.insert(name.to_owned()), "a second HELP: {line}");
                }
                (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                    assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                    assert!(helped.contains(name), "TYPE before HELP: {line}");
                    assert!(read.types.insert(name.to_owned(), kind.to_owned()).is_none(), "a second TYPE: {line}");
                    assert!(done.insert(std::mem::replace(&mut family, name.to_owned())), "{line}");
                }
                _ => read.sample(line, &family),
            }
        }
        read.check_histograms();
        read
    }

    /// The value of a name with these labels.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let mut labels: Vec<_> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        labels.sort();
        let found = self.values.get(&(name.to_owned(), labels.clone()));
        *found.unwrap_or_else(|| panic!("no {name} with {labels:?}"))
    }

    fn sample(&mut self, line: &str, family: &str) {
        let at = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
        let name = &line[..at];
        check_name(name);
        let kind = &self.types[family];
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("not of {family}: {line}"));
        let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line}");
        assert!(kind != "counter" || name.ends_with("_total"), "{line}");
        let (mut labels, rest) = match line[at..].strip_prefix('{') {
            Some(rest) => labels(rest),
            None => (Vec::new(), &line[at..]),
        };
        labels.sort();
        assert!(labels.windows(2).all(|two| two[0].0 != two[1].0), "a label twice: {line}");
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(value >= 0.0, "{line}");
        assert!(self.values.insert((name.to_owned(), labels), value).is_none(), "a second value: {line}");
    }

    /// Buckets do not fall, and the last has all.
    fn check_histograms(&self) {
        for family in self.types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for ((_, labels), count) in self.values.iter().filter(|((name, _), _)| *name == format!("{family}_bucket"))
            {
                let (le, labels): (Vec<_>, Vec<_>) = labels.iter().cloned().partition(|(name, _)| name == "le");
                series.entry(labels).or_default().push((le[0].1.parse().unwrap(), *count));
            }
            for (labels, mut buckets) in series {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.windows(2).all(|two| two[0].1 <= two[1].1), "{family} {labels:?}: {buckets:?}");
                let (bound, all) = *buckets.last().unwrap();
                assert_eq!((bound, all), (f64::INFINITY, self.values[&(format!("{family}_count"), labels.clone())]));
                assert!(self.values.contains_key(&(format!("{family}_sum"), labels)));
            }
        }
    }
}

fn check_name(name: &str) {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_' || c == ':');
    assert!(first && characters.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{name:?} is no name");
}

/// The labels behind a brace, and what follows them.
fn labels(mut rest: &str) -> (Labels, &str) {
    let mut labels = Vec::new();
    while let Some((name, value)) = rest.split_once("=\"").filter(|_| !rest.starts_with('}')) {
        assert!(!name.contains(':'), "{name:?} is no label");
        check_name(name);
        let mut text = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => text.push(match characters.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, c @ ('\\' | '"'))) => c,
                    other => panic!("escaped {other:?} in {rest}"),
                }),
                Some((_, c)) => text.push(c),
                None => panic!("no end of a label: {rest}"),
            }
        };
        labels.push((name.to_owned(), text));
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (labels, rest.strip_prefix('}').unwrap_or_else(|| panic!("no end of the labels: {rest}")))
}
