//! The figures that were last agreed to.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;
use toml::{Table, Value};

/// Where they are, relative to the root of the tree.
pub(crate) const PATH: &str = "benches/instructions.toml";

/// How many percent a kind may take more, or fewer, without a word: code is inlined otherwise when something beside it has
/// changed.
const TOLERANCE_PERCENT: u64 = 3;

const HEADER: &str = "\
# Instructions of one call, or one item of a stream, on either side. `cargo run -p xtask -- instructions` compares with them,
# and writes them anew with `--bless`.
";

/// Why there are no figures to compare with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum FiguresError {
    /// Cargo says where the tree is, but did not start this program.
    #[error("CARGO_MANIFEST_DIR is not set: start this with `cargo run -p xtask -- instructions`")]
    NotByCargo,
    /// The file cannot be read or written.
    #[error("cannot use {}: {source}", .path.display())]
    File {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{PATH}: {0}")]
    Toml(#[from] toml::de::Error),
    /// The file has something else than figures.
    #[error("{PATH}: found {found} at {key:?}, expected {expected}")]
    Content {
        /// Where.
        key: String,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
}

/// Instructions of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Who makes the call.
    pub(crate) caller: u64,
    /// Who serves it.
    pub(crate) callee: u64,
}

impl Cost {
    /// Of both sides.
    pub(crate) fn both(self) -> u64 {
        self.caller.saturating_add(self.callee)
    }
}

/// The costs of all kinds, and the compiler that they were counted with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    rustc: String,
    costs: BTreeMap<String, Cost>,
}

/// What is to be said of a kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// As agreed, up to so many percent.
    AsAgreed { percent: f64 },
    /// It takes fewer, which may be kept.
    Fewer { percent: f64 },
    /// It takes more.
    More { percent: f64 },
    /// Nothing was agreed to.
    New,
    /// It is not counted any more.
    Gone,
}

impl Verdict {
    fn of(found: u64, agreed: u64) -> Self {
        let percent = (found as f64 / agreed as f64 - 1.0) * 100.0;
        // In whole numbers, so that the bound is exact.
        let (found, agreed) = (u128::from(found) * 100, u128::from(agreed));
        let tolerance = u128::from(TOLERANCE_PERCENT);
        if found > agreed * (100 + tolerance) {
            Self::More { percent }
        } else if found < agreed * (100 - tolerance) {
            Self::Fewer { percent }
        } else {
            Self::AsAgreed { percent }
        }
    }

    /// Whether it is a reason to fail.
    pub(crate) fn fails(self) -> bool {
        !matches!(self, Self::AsAgreed { .. } | Self::Fewer { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsAgreed { percent } => write!(f, "{percent:>+7.1} %"),
            Self::Fewer { percent } => write!(f, "{percent:>+7.1} % fewer"),
            Self::More { percent } => write!(f, "{percent:>+7.1} % MORE (at most {TOLERANCE_PERCENT} % are allowed)"),
            Self::New => write!(f, "   NEW: it has no figure in {PATH}"),
            Self::Gone => write!(f, "  GONE: it has a figure in {PATH}, but is not counted"),
        }
    }
}

impl Figures {
    /// What was counted.
    pub(crate) fn new(rustc: String, costs: BTreeMap<String, Cost>) -> Self {
        Self { rustc, costs }
    }

    /// What was agreed to.
    pub(crate) fn read() -> Result<Self, FiguresError> {
        let path = path()?;
        let text = fs::read_to_string(&path).map_err(|source| FiguresError::File { path, source })?;
        Self::parse(&text)
    }

    /// From now on these are agreed to.
    pub(crate) fn write(&self) -> Result<(), FiguresError> {
        let path = path()?;
        fs::write(&path, self.text()).map_err(|source| FiguresError::File { path, source })
    }

    /// The compiler.
    pub(crate) fn rustc(&self) -> &str {
        &self.rustc
    }

    /// What was agreed to for a kind.
    pub(crate) fn agreed(&self, kind: &str) -> Option<Cost> {
        self.costs.get(kind).copied()
    }

    /// What is to be said of each kind that was counted or agreed to.
    pub(crate) fn compare(&self, found: &BTreeMap<String, Cost>) -> BTreeMap<String, Verdict> {
        let counted = found.iter().map(|(kind, found)| {
            let verdict = self.agreed(kind).map_or(Verdict::New, |agreed| Verdict::of(found.both(), agreed.both()));
            (kind.clone(), verdict)
        });
        let gone = self.costs.keys().filter(|kind| !found.contains_key(*kind));
        counted.chain(gone.map(|kind| (kind.clone(), Verdict::Gone))).collect()
    }

    fn parse(text: &str) -> Result<Self, FiguresError> {
        let mut table: Table = text.parse()?;
        let rustc = match table.remove("rustc") {
            Some(Value::String(rustc)) => rustc,
            found => return Err(content("rustc", found.as_ref(), "the version of the compiler")),
        };
        let costs = table.into_iter().map(|(kind, value)| {
            let side = |name: &str| {
                let found = value.get(name);
                let cost = found.and_then(Value::as_integer).and_then(|cost| u64::try_from(cost).ok());
                cost.ok_or_else(|| content(&format!("{kind}.{name}"), found, "a number of instructions"))
            };
            Ok((kind.clone(), Cost { caller: side("caller")?, callee: side("callee")? }))
        });
        Ok(Self { rustc, costs: costs.collect::<Result<_, FiguresError>>()? })
    }

    fn text(&self) -> String {
        let mut text = format!("{HEADER}rustc = {:?}\n", self.rustc);
        for (kind, Cost { caller, callee }) in &self.costs {
            // To write to a string cannot fail.
            let _ = write!(text, "\n[{kind}]\ncaller = {caller}\ncallee = {callee}\n");
        }
        text
    }
}

fn content(key: &str, found: Option<&Value>, expected: &'static str) -> FiguresError {
    let found = found.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
    FiguresError::Content { key: key.to_owned(), found, expected }
}

fn path() -> Result<PathBuf, FiguresError> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").ok_or(FiguresError::NotByCargo)?;
    Ok(Path::new(&package).join("..").join(PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(costs: &[(&str, u64, u64)]) -> Figures {
        let costs = costs.iter().map(|(kind, caller, callee)| {
            let cost = Cost { caller: *caller, callee: *callee };
            ((*kind).to_owned(), cost)
        });
        Figures::new("rustc 1.0".to_owned(), costs.collect())
    }

    /// What is said of a kind that was agreed to take 1000 on both sides together.
    #[track_caller]
    fn check(found: u64, fails: bool, says: &str) {
        let verdict = figures(&[("a", 400, 600)]).compare(&figures(&[("a", found - 100, 100)]).costs)["a"];
        assert_eq!(verdict.fails(), fails, "{verdict:?}");
        assert_eq!(verdict.to_string().trim(), says);
    }

    #[test]
    fn more_than_the_tolerance_fails_and_fewer_does_not() {
        check(1000, false, "+0.0 %");
        check(1030, false, "+3.0 %");
        check(1031, true, "+3.1 % MORE (at most 3 % are allowed)");
        check(970, false, "-3.0 %");
        check(969, false, "-3.1 % fewer");
    }

    #[test]
    fn a_kind_without_a_figure_and_a_figure_without_a_kind_fail() {
        let found = figures(&[("new", 1, 1), ("old", 1, 1)]);
        let verdicts = figures(&[("gone", 1, 1), ("old", 1, 1)]).compare(&found.costs);
        let failing: Vec<&str> =
            verdicts.iter().filter(|(_, verdict)| verdict.fails()).map(|(kind, _)| &**kind).collect();
        assert_eq!(failing, ["gone", "new"]);
        assert_eq!((verdicts["gone"], verdicts["new"]), (Verdict::Gone, Verdict::New));
    }

    #[test]
    fn what_is_written_is_read() {
        let figures = figures(&[("a", 1, 2), ("b-2", 3, u32::MAX.into())]);
        assert_eq!(Figures::parse(&figures.text()).unwrap(), figures);
    }

    #[test]
    fn what_are_no_figures_is_refused_by_its_key() {
        let check = |text: &str, expected: &str| {
            let error = Figures::parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("{PATH}: {expected}"));
        };
        check("", "found nothing at \"rustc\", expected the version of the compiler");
        check("rustc = 1", "found Integer(1) at \"rustc\", expected the version of the compiler");
        check("rustc = ''\na = 1", "found nothing at \"a.caller\", expected a number of instructions");
        check("rustc = ''\na.caller = -1", "found Integer(-1) at \"a.caller\", expected a number of instructions");
        check("rustc = ''\na.caller = 1", "found nothing at \"a.callee\", expected a number of instructions");
    }

    #[test]
    fn the_figures_of_this_tree_are_figures() {
        assert!(Figures::read().unwrap().costs.values().all(|cost| cost.caller > 0 && cost.callee > 0));
    }
}
