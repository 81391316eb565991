//! Runs all rows, interleaved, and shows what came out.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::args::{MEASURE, Options, PAIRS};
use crate::figure::{Reading, Readings};
use crate::header::{Header, Usage};
use crate::plan::Plan;
use crate::{Error, aims, chart, peer, table};

/// A row that takes longer is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs it. Fails if a row could not be measured at all.
pub fn run(options: &Options) -> Result<ExitCode, Error> {
    let plan = if options.quick { Plan::quick() } else { Plan::full() };
    let rows = rows(&options.only)?;
    let mut header = Header::new(&plan, &rows)?;
    let mut readings = Readings::default();
    let pairs = aims::pair::pairs(&rows).iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let pairs = (!pairs.is_empty()).then(|| (PAIRS.to_owned(), pairs));
    let (begun, before) = (Instant::now(), Usage::now()?);
    for run in 1..=plan.runs {
        for (index, (system, mode)) in rows.iter().chain(&pairs).enumerate() {
            eprint!("\r\x1b[Krun {run} of {}: {system} {mode}", plan.runs);
            match measure(system, mode, options.quick) {
                Ok(found) => found.into_iter().for_each(|reading| readings.add(run, index, reading)),
                Err(error) => {
                    eprintln!("\r\x1b[Krun {run}: {system} {mode}: {error}");
                    header.failures.push(format!("run {run}: {system} {mode}: {error}"));
                }
            }
        }
    }
    header.seconds = begun.elapsed().as_secs();
    header.others_percent = Usage::now()?.others_percent(before);
    eprintln!("\r\x1b[K");
    let figures = readings.figures(&rows);
    let aims = aims::reached(&rows, &readings);
    let results = serde_json::json!({ "header": header, "figures": figures, "aims": aims });
    let results = serde_json::to_string_pretty(&results)?;
    fs::create_dir_all(&options.out)?;
    fs::write(options.out.join("results.json"), results.clone() + "\n")?;
    let tables = table::tables(&rows, &figures);
    for table in tables.iter().chain(&aims::table(&aims)) {
        fs::write(options.out.join(format!("{}.svg", table.name)), chart::draw(table, &header))?;
    }
    let mut text = format!("{header}\n{}", tables.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    if !aims.is_empty() {
        text += &format!("\n{}", aims::text(&aims));
    }
    if options.json {
        eprintln!("{text}");
        println!("{results}");
    } else {
        println!("{text}");
        println!("results.json and the charts are in {}", options.out.display());
    }
    Ok(if header.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The rows that are wanted: a system and a mode each.
fn rows(only: &[String]) -> Result<Vec<(String, String)>, Error> {
    let mut rows = Vec::new();
    for peer in peer::all() {
        rows.extend(peer.modes().iter().map(|mode| (peer.name().to_owned(), (*mode).to_owned())));
    }
    let is = |(system, mode): &(String, String), name: &str| name == system || name == format!("{system}/{mode}");
    if let Some(unknown) = only.iter().find(|name| !rows.iter().any(|row| is(row, name))) {
        let known: Vec<_> = rows.iter().map(|(system, mode)| format!("{system}/{mode}")).collect();
        return Err(format!("there is no row `{unknown}`; there are {}", known.join(", ")).into());
    }
    rows.retain(|row| only.is_empty() || only.iter().any(|name| is(row, name)));
    Ok(rows)
}

/// A folder that is removed in the end.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        // What cannot be removed is in the folder for what is temporary.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Measures a row once, in a process of its own.
fn measure(system: &str, mode: &str, quick: bool) -> Result<Vec<Reading>, Error> {
    let place = Place(std::env::temp_dir().join(format!("race-{}", std::process::id())));
    fs::create_dir_all(&place.0)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([MEASURE, system, mode]).arg(&place.0).arg(if quick { "quick" } else { "full" });
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().ok_or("no standard output")?;
    // This process sleeps meanwhile: it takes no time from those that are measured.
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = String::new();
        // Nobody takes it when it comes too late.
        let _ = sender.send(output.read_to_string(&mut lines).map(|_| lines));
    });
    let Ok(lines) = receiver.recv_timeout(PATIENCE) else {
        child.kill()?;
        child.wait()?;
        return Err(format!("no end after {PATIENCE:?}").into());
    };
    let (lines, exit) = (lines?, child.wait()?);
    if !exit.success() {
        return Err(format!("{exit}").into());
    }
    Ok(lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
