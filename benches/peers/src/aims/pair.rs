//! The two figures of a ratio, measured back to back.
//!
//! Where a virtual machine's processors are, and with it the way of a cache line, may change at any time. What is compared is
//! therefore measured within a fraction of a second, twice, and again if the two do not agree.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::thread::{sched_getaffinity, sched_setaffinity};

use super::list::AIMS;
use super::{Aim, Rows, Term};
use crate::args::Role;
use crate::clock::Clock;
use crate::figure::Reading;
use crate::plan::{IN_FLIGHT, Plan};
use crate::work::Work;
use crate::{Error, find};

/// Two figures of the same are the same if they differ by no more.
const SAME: f64 = 1.2;
const TRIES: usize = 3;
const PAUSES: u64 = 20;
/// No more are begun then: on a machine that is busy with other things they may take very long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The aims whose figures can be measured so, of those whose rows are in the race: their places in the list.
pub fn pairs(rows: &[(String, String)]) -> Vec<usize> {
    let has =
        |term: Term| single(term).is_some_and(|(system, mode)| rows.iter().any(|row| row.0 == system && row.1 == mode));
    let is_pair = |aim: &Aim| aim.under.is_some_and(has) && has(aim.over);
    let can = |metric: &str| metric.starts_with("unary_") || ["first_call_after_1ms", "one_way"].contains(&metric);
    (0..AIMS.len()).filter(|place| can(AIMS[*place].over.1) && is_pair(&AIMS[*place])).collect()
}

fn single((rows, _, _): Term) -> Option<(&'static str, &'static str)> {
    match rows {
        Rows::Of(system, [mode]) => Some((system, mode)),
        _ => None,
    }
}

/// Measures them, and prints: the role's mode is their places in the list.
pub fn run(role: &Role, plan: &Plan) -> Result<(), Error> {
    let mut bench =
        Bench { clock: Clock::new(), place: role.place.clone(), places: 0, time: plan.pair, room: Work::room() };
    let begun = Instant::now();
    for place in role.mode.split(',').take_while(|_| begun.elapsed() < PATIENCE) {
        let place: usize = place.parse()?;
        let aim = AIMS.get(place).ok_or_else(|| format!("there are {} aims, but no number {place}", AIMS.len()))?;
        if let Some(value) = bench.ratio(aim)? {
            let reading = Reading { metric: super::RATIO.to_owned(), bytes: place, value, unit: "x".to_owned() };
            println!("{}", serde_json::to_string(&reading)?);
        }
    }
    Ok(())
}

struct Bench {
    clock: Clock,
    place: PathBuf,
    places: usize,
    time: Duration,
    room: Vec<u32>,
}

impl Bench {
    fn ratio(&mut self, aim: &Aim) -> Result<Option<f64>, Error> {
        let Some(under) = aim.under else { return Ok(None) };
        let mut ratio = None;
        for _ in 0..TRIES {
            let mut found = [0.0; 4];
            for (value, term) in found.iter_mut().zip([aim.over, under, aim.over, under]) {
                *value = self.take(term)?.unwrap_or_default();
            }
            let [over, under, over_again, under_again] = found;
            if found.iter().any(|value| *value <= 0.0) {
                return Ok(ratio);
            }
            ratio = Some((over + over_again) / (under + under_again));
            if agree(over, over_again) && agree(under, under_again) {
                break;
            }
        }
        Ok(ratio)
    }

    /// One figure, of a client and a server of its own.
    fn take(&mut self, term: Term) -> Result<Option<f64>, Error> {
        let Some((system, mode)) = single(term) else { return Ok(None) };
        self.places += 1;
        let place = self.place.join(self.places.to_string());
        std::fs::create_dir_all(&place)?;
        // A limit keeps its client on one processor.
        let processors = sched_getaffinity(None)?;
        let value = self.measure(system, mode, &place, term.1, term.2);
        sched_setaffinity(None, &processors)?;
        value
    }

    fn measure(
        &mut self,
        system: &str,
        mode: &str,
        place: &Path,
        metric: &str,
        bytes: usize,
    ) -> Result<Option<f64>, Error> {
        let mut client = find(system)?.start(mode, place)?;
        let (clock, time) = (self.clock.clone(), self.time);
        if metric == "one_way" {
            let work = |time| Work::in_flight(&clock, bytes, IN_FLIGHT.0, time);
            client.one_way(&mut work(time / 5))?;
            let mut work = work(time);
            let seconds = if client.one_way(&mut work)? { work.finish() } else { return Ok(None) };
            return Ok(Some(work.ended() as f64 * bytes as f64 / seconds * 1e-9));
        }
        let per_mille = if metric == "unary_p99" { 990 } else { 500 };
        let pause = Duration::from_millis(1);
        // Long enough for the scheduler to have found a processor for each.
        let mut warm_up = Work::sequential(&clock, bytes, time, std::mem::take(&mut self.room));
        client.sequential(&mut warm_up)?;
        let room = warm_up.into_room();
        let mut work = match metric {
            "first_call_after_1ms" => Work::paused(&clock, pause, PAUSES, room),
            _ => Work::sequential(&clock, bytes, time, room),
        };
        client.sequential(&mut work)?;
        let value = work.quantile(per_mille);
        self.room = work.into_room();
        Ok(value)
    }
}

fn agree(one: f64, other: f64) -> bool {
    one.max(other) <= SAME * one.min(other)
}
