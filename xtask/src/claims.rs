//! Whether the tests notice when a guarantee is taken away.
//!
//! `spec/claims.toml` lists what this project guarantees, what sees to each guarantee, and changes to the code that take
//! it away. Each change is made in a copy of the tree, and the test that is named with it has to fail. The same list makes
//! the table in SECURITY.md.

mod check;
mod list;
mod scratch;
mod table;
mod trial;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use thiserror::Error;

pub(crate) use check::check;
pub(crate) use list::PATH;
use list::{Claim, Claims, Mutation, Test};
use scratch::Scratch;
pub(crate) use table::PATH as TABLE_PATH;
use trial::{Ending, Trials};

/// How to call it.
pub(crate) const USAGE: &str = "claims [--list | --table | --only ID...]";

/// So many times as long as all tests of its program together a test may take that a change slows down,
const SLOWER: u32 = 3;
/// and so long at least: beyond that it hangs.
const HANG: Duration = Duration::from_secs(20);
/// A test beyond this hangs without a change.
const TEST_TIME_MAX: Duration = Duration::from_secs(600);

/// Why the claims could not be tried, or what was found.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum ClaimsError {
    /// The arguments are wrong.
    #[error("found the arguments {found:?}, expected {USAGE}")]
    Arguments {
        /// What they were.
        found: Vec<String>,
    },
    /// There is no such claim.
    #[error("found no claim {id}: `claims --list` has them all")]
    NoClaim {
        /// What was asked for.
        id: String,
    },
    /// Cargo did not start this program.
    #[error("CARGO_MANIFEST_DIR is not set: start this with `cargo run -p xtask -- claims`")]
    NotByCargo,
    /// There is nothing to copy.
    #[error("git lists no files in {}", .root.display())]
    NoTree {
        /// Where.
        root: PathBuf,
    },
    /// The list cannot be read.
    #[error("{PATH}: {0}")]
    List(#[from] toml::de::Error),
    /// The table has no place.
    #[error("{TABLE_PATH} has no place for the table: the lines {} and {} are missing", table::BEGIN, table::END)]
    Markers,
    /// A file cannot be read or written, or a program not run.
    #[error("cannot use {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A change cannot be made.
    #[error("{file}: {what}")]
    Text {
        /// Where.
        file: String,
        /// Why.
        what: String,
    },
    /// Some claims do not hold.
    #[error("{found} of {mutations} mutations were not noticed, or not tried")]
    Survived {
        /// How many.
        found: usize,
        /// Of how many.
        mutations: usize,
    },
}

/// What became of a change.
enum Verdict {
    /// The test failed.
    Killed,
    /// The test did not come to an end.
    Hung,
    /// The test passed.
    Survived,
    /// The changed code does not compile, which proves nothing.
    NoCode(String),
    /// Without the change the test does not pass, or is not there.
    NoTest,
    /// The change could not be made.
    NoText(String),
}

/// Tries the claims, lists them, or writes their table.
pub(crate) fn claims(arguments: &[String]) -> Result<(), ClaimsError> {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").ok_or(ClaimsError::NotByCargo)?;
    let root = Path::new(&package).join("..");
    let claims = Claims::parse(&read(&root.join(PATH))?)?;
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => try_all(&root, &claims.claims().collect::<Vec<_>>()),
        ["--list"] => {
            claims.claims().for_each(|claim| println!("{:<28} {}", claim.id, claim.guarantee));
            Ok(())
        }
        ["--table"] => {
            let path = root.join(TABLE_PATH);
            let text = table::insert(&read(&path)?, &claims).ok_or(ClaimsError::Markers)?;
            fs::write(&path, text).map_err(|source| ClaimsError::File { path, source })
        }
        ["--only", _, ..] => {
            let find = |id: &&str| {
                let claim = claims.claims().find(|claim| claim.id == **id);
                claim.ok_or_else(|| ClaimsError::NoClaim { id: (*id).to_owned() })
            };
            try_all(&root, &words[1..].iter().map(find).collect::<Result<Vec<_>, _>>()?)
        }
        _ => Err(ClaimsError::Arguments { found: arguments.to_vec() }),
    }
}

fn read(path: &Path) -> Result<String, ClaimsError> {
    fs::read_to_string(path).map_err(|source| ClaimsError::File { path: path.to_owned(), source })
}

/// A change and the claim that it takes away.
type Change<'a> = (&'a Claim, &'a Mutation);

/// Makes every change of these claims, one program of tests after the other.
fn try_all(root: &Path, claims: &[&Claim]) -> Result<(), ClaimsError> {
    let start = Instant::now();
    let beside = place()?;
    let scratch = Scratch::of(root, beside.join("tree"))?;
    let trials = Trials::new(scratch.folder(), &beside);
    let mut programs: BTreeMap<(&str, &str), Vec<Change<'_>>> = BTreeMap::new();
    for (claim, mutation) in claims.iter().flat_map(|claim| claim.mutations.iter().map(move |one| (*claim, one))) {
        let Test { package, program, .. } = &mutation.test;
        programs.entry((package, program)).or_default().push((claim, mutation));
    }
    let (mut killed, mut hung, mut mutations) = (0, 0, 0);
    for changes in programs.values() {
        let time_max = try_unchanged(&trials, changes)?;
        for (claim, mutation) in changes {
            let began = Instant::now();
            let verdict = match &time_max {
                Some((time_max, good)) if good.contains(&&mutation.test) => {
                    try_one(&scratch, &trials, mutation, *time_max)?
                }
                _ => Verdict::NoTest,
            };
            mutations += 1;
            match verdict {
                Verdict::Killed => killed += 1,
                Verdict::Hung => hung += 1,
                _ => {}
            }
            tell(claim, mutation, &verdict, began.elapsed());
        }
    }
    let seconds = start.elapsed().as_secs();
    println!(
        "{} claims, {mutations} mutations: {} noticed ({hung} by a test that no longer ends), in {seconds} s",
        claims.len(),
        killed + hung
    );
    match mutations - killed - hung {
        0 => Ok(()),
        found => Err(ClaimsError::Survived { found, mutations }),
    }
}

/// Runs the tests of one program without a change: those that pass, and how long a changed one may take.
fn try_unchanged<'a>(
    trials: &Trials,
    changes: &[Change<'a>],
) -> Result<Option<(Duration, Vec<&'a Test>)>, ClaimsError> {
    let mut tests: Vec<&Test> = changes.iter().map(|(_, mutation)| &mutation.test).collect();
    tests.sort();
    tests.dedup();
    let Some(first) = tests.first() else { return Ok(None) };
    if !trials.build(first)? {
        println!("{} {} does not build:\n{}", first.package, first.program, trials.last_output());
        return Ok(None);
    }
    let began = Instant::now();
    trials.run(&tests, TEST_TIME_MAX)?;
    let time_max = began.elapsed().saturating_mul(SLOWER).clamp(HANG, TEST_TIME_MAX);
    let (good, bad): (Vec<&Test>, Vec<&Test>) = tests.into_iter().partition(|test| trials.has_passed(test));
    if !bad.is_empty() {
        println!("{}", trials.last_output());
    }
    Ok(Some((time_max, good)))
}

fn try_one(
    scratch: &Scratch,
    trials: &Trials,
    mutation: &Mutation,
    time_max: Duration,
) -> Result<Verdict, ClaimsError> {
    let mutated = match scratch.mutate(mutation) {
        Err(ClaimsError::Text { what, .. }) => return Ok(Verdict::NoText(what)),
        mutated => mutated?,
    };
    let verdict = if trials.build(&mutation.test)? {
        match trials.run(&[&mutation.test], time_max)? {
            Ending::Good => Verdict::Survived,
            Ending::Bad => Verdict::Killed,
            Ending::Hung => Verdict::Hung,
        }
    } else {
        Verdict::NoCode(trials.last_output())
    };
    mutated.restore()?;
    Ok(verdict)
}

fn tell(claim: &Claim, mutation: &Mutation, verdict: &Verdict, time: Duration) {
    let Test { package, program, name } = &mutation.test;
    let what = match verdict {
        Verdict::Killed => "noticed",
        Verdict::Hung => "noticed: no end",
        Verdict::Survived => "NOT NOTICED",
        Verdict::NoCode(_) => "DOES NOT COMPILE",
        Verdict::NoTest => "NO SUCH TEST, OR IT FAILS WITHOUT THE CHANGE",
        Verdict::NoText(_) => "NOT MADE",
    };
    println!("{:<28} {what} by {package} {program} {name} ({:.1} s)", claim.id, time.as_secs_f64());
    match verdict {
        Verdict::NoCode(text) | Verdict::NoText(text) => println!("{text}"),
        Verdict::Survived => println!("{}:\n- {}\n+ {}", mutation.file, mutation.find, mutation.replace),
        Verdict::Killed | Verdict::Hung | Verdict::NoTest => {}
    }
}

/// A folder beside what is built.
fn place() -> Result<PathBuf, ClaimsError> {
    let this = std::env::current_exe().map_err(|source| ClaimsError::File { path: "this program".into(), source })?;
    let target = this.ancestors().nth(2).unwrap_or(&this);
    Ok(target.join("claims"))
}
