//! How many instructions a call takes, and whether that is more than it was.
//!
//! Time is different on every machine and at every moment; the number of instructions is not. `benches/instructions.toml`
//! has the figures that were last agreed to.

mod figures;
mod profile;
mod run;

use std::collections::BTreeMap;
use std::io::Write as _;

use thiserror::Error;

use figures::{Cost, Figures, FiguresError, PATH, Verdict};
use profile::Profile;
use run::{Program, RunError, Side};

/// How to call it.
pub(crate) const USAGE: &str = "instructions [--bless | --functions KIND [SIDE] | --lines KIND [SIDE]]";

/// How many functions or lines are listed.
const ROWS: usize = 40;

/// Why nothing was counted, or what was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum InstructionsError {
    /// The arguments are wrong.
    #[error("found the arguments {found:?}, expected {USAGE}; a SIDE is caller or callee")]
    Arguments {
        /// What they were.
        found: Vec<String>,
    },
    /// The program that makes the calls has no such kind.
    #[error("found the kind {found:?}, expected one of {}", .expected.join(", "))]
    Kind {
        /// What was asked for.
        found: String,
        /// What there is.
        expected: Vec<String>,
    },
    /// Nothing could be counted.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There are no figures to compare with.
    #[error(transparent)]
    Figures(#[from] FiguresError),
    /// Something takes more than it did, or was never agreed to.
    #[error("{found} of {kinds} kinds are not what {PATH} says; if that is right, run this with --bless")]
    Differs {
        /// How many.
        found: usize,
        /// Of how many.
        kinds: usize,
    },
}

/// Counts, and compares or prints what it was asked for.
pub(crate) fn instructions(arguments: &[String]) -> Result<(), InstructionsError> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => compare(&Program::build()?),
        ["--bless"] => bless(&Program::build()?),
        ["--functions", kind] => list(kind, &Side::BOTH, Profile::by_function),
        ["--functions", kind, side] => list(kind, &[one(side).ok_or_else(|| wrong(&arguments))?], Profile::by_function),
        ["--lines", kind] => list(kind, &Side::BOTH, Profile::by_line),
        ["--lines", kind, side] => list(kind, &[one(side).ok_or_else(|| wrong(&arguments))?], Profile::by_line),
        _ => Err(wrong(&arguments)),
    }
}

fn wrong(arguments: &[&str]) -> InstructionsError {
    InstructionsError::Arguments { found: arguments.iter().map(ToString::to_string).collect() }
}

fn one(side: &str) -> Option<Side> {
    Side::BOTH.into_iter().find(|known| known.name() == side)
}

/// What each kind costs now.
fn count(program: &Program) -> Result<BTreeMap<String, Cost>, InstructionsError> {
    let mut costs = BTreeMap::new();
    for kind in program.kinds()? {
        let cost = |side| Ok::<_, RunError>(run::per_call(program.profile(&kind, side)?.total()));
        let cost = Cost { caller: cost(Side::Caller)?, callee: cost(Side::Callee)? };
        costs.insert(kind, cost);
    }
    Ok(costs)
}

fn compare(program: &Program) -> Result<(), InstructionsError> {
    let figures = Figures::read()?;
    let found = count(program)?;
    let verdicts = figures.compare(&found);
    println!("{:<20} {:>8} {:>8} {:>8} {:>8}", "instructions a call", "caller", "callee", "both", "agreed");
    for (kind, verdict) in &verdicts {
        let shown = |cost: Option<u64>| cost.map_or_else(String::new, |cost| cost.to_string());
        let (found, agreed) = (found.get(kind).copied(), figures.agreed(kind));
        let (caller, callee) = (shown(found.map(|cost| cost.caller)), shown(found.map(|cost| cost.callee)));
        let (both, agreed) = (shown(found.map(Cost::both)), shown(agreed.map(Cost::both)));
        println!("{kind:<20} {caller:>8} {callee:>8} {both:>8} {agreed:>8} {verdict}");
    }
    if verdicts.values().any(|verdict| matches!(verdict, Verdict::Fewer { .. })) {
        println!("some take fewer than agreed: keep that by `cargo run -p xtask -- instructions --bless`");
    }
    let differs = verdicts.values().filter(|verdict| verdict.fails()).count();
    if differs == 0 {
        return Ok(());
    }
    let rustc = run::rustc()?;
    if rustc != figures.rustc() {
        println!("the figures are those of {}, this is {rustc}", figures.rustc());
    }
    Err(InstructionsError::Differs { found: differs, kinds: verdicts.len() })
}

fn bless(program: &Program) -> Result<(), InstructionsError> {
    let found = count(program)?;
    Figures::new(run::rustc()?, found).write()?;
    println!("{PATH} has what was counted");
    Ok(())
}

/// Prints what costs most in a call of a kind.
fn list(kind: &str, sides: &[Side], rows: impl Fn(&Profile) -> BTreeMap<String, u64>) -> Result<(), InstructionsError> {
    let program = Program::build()?;
    let kinds = program.kinds()?;
    if !kinds.iter().any(|known| known == kind) {
        return Err(InstructionsError::Kind { found: kind.to_owned(), expected: kinds });
    }
    for side in sides {
        let profile = program.profile(kind, *side)?;
        let mut rows: Vec<(String, u64)> = rows(&profile).into_iter().collect();
        rows.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        let mut text = format!("{kind}, {}: {} instructions a call\n", side.name(), run::per_call(profile.total()));
        for (name, cost) in rows.iter().take(ROWS) {
            text += &format!("{:>7} {name}\n", run::per_call(*cost));
        }
        // Whoever reads may have seen enough.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    Ok(())
}
