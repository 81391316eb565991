//! What it costs to count calls: the same call with and without, in turns, as a ratio.
//!
//! `cargo bench -p rapace-benches --bench observed`
//!
//! Each turn is a ratio of two runs, one right after the other and shorter than a turn of the scheduler, so that whatever else
//! the machine does falls on both. The rows of work have both ends in one thread, so that they time all of the work of a call,
//! one after the other, with the side that is named counting. Those of two processes count on the caller's side, as a host does;
//! they say something only while both processors are free. Several pairs of sessions, because where their memory happens to lie
//! is worth some percent.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rapace_benches::ends::Meter;
use rapace_benches::kind::Kind;
use rapace_benches::typed::TypedClient;
use rapace_benches::{ECHO, Error, play_role, session_with, typed_session_with};
use rapace_session::{CallOptions, Config, Observe, PeerA, Session};

/// Pairs of sessions, and turns of each.
const PAIRS: usize = 40;
const TURNS: usize = 15;

/// Times so many calls.
type Run = Box<dyn FnMut(u32) -> Result<Duration, Error>>;

/// A row: its name, calls in a run, and how to make the calls of one session.
type Row = (&'static str, u32, fn(Observe) -> Result<Run, Error>);

const ROWS: [Row; 13] = [
    ("work, off and off", 1024, |_| work(Kind::Raw8, [Observe::Nothing; 2])),
    ("work, raw, caller", 1024, |observe| work(Kind::Raw8, [observe, Observe::Nothing])),
    ("work, raw, callee", 1024, |observe| work(Kind::Raw8, [Observe::Nothing, observe])),
    ("work, raw, 1 KiB, caller", 1024, |observe| work(Kind::Raw1024, [observe, Observe::Nothing])),
    ("work, typed, caller", 1024, |observe| work(Kind::Typed8, [observe, Observe::Nothing])),
    ("work, typed, callee", 1024, |observe| work(Kind::Typed8, [Observe::Nothing, observe])),
    ("work, 64 raw, caller", 1024, |observe| work(Kind::RawFlight, [observe, Observe::Nothing])),
    ("off and off", 1000, |_| Ok(echo(session_with("adaptive", config(Observe::Nothing))?, &[7; 8]))),
    ("raw, 8 B", 1000, |observe| Ok(echo(session_with("adaptive", config(observe))?, &[7; 8]))),
    ("raw, 1 KiB", 500, |observe| Ok(echo(session_with("adaptive", config(observe))?, &[7; 1024]))),
    ("raw, 8 B, spinning", 1000, |observe| Ok(echo(session_with("spin", config(observe))?, &[7; 8]))),
    ("typed, 8 B", 1000, |observe| Ok(typed(typed_session_with("adaptive", config(observe))?))),
    ("raw, 64 in flight", 1024, |observe| Ok(in_flight(session_with("adaptive", config(observe))?))),
];

fn main() -> Result<(), Error> {
    if play_role()? {
        return Ok(());
    }
    // `cargo test --benches` only wants to see that it runs.
    let (pairs, turns) = if std::env::args().any(|arg| arg == "--test") { (1, 3) } else { (PAIRS, TURNS) };
    println!("{:<24} {:>10} {:>10} {:>8} {:>8} {:>8}", "each", "off, ns", "on, ns", "ratio", "lower", "upper");
    for (name, count, open) in ROWS {
        let (mut off, mut on, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..pairs {
            // Which of them is opened first decides where both lie.
            let mut runs = if pair / 2 % 2 == 0 {
                [open(Observe::Nothing)?, open(Observe::Calls)?]
            } else {
                let on = open(Observe::Calls)?;
                [open(Observe::Nothing)?, on]
            };
            runs.iter_mut().try_for_each(|run| run(count).map(drop))?;
            for turn in 0..turns {
                // Who goes first comes behind the other one's run, or behind its own.
                let order = if (pair + turn) % 2 == 0 { [0, 1] } else { [1, 0] };
                let mut times = [0.0; 2];
                for which in order {
                    times[which] = runs[which](count)?.as_secs_f64() * 1e9 / f64::from(count);
                }
                off.push(times[0]);
                on.push(times[1]);
                ratios.push(times[1] / times[0]);
            }
        }
        let [off, on] = [off, on].map(|times| quartile(times, 2));
        let [lower, median, upper] = [1, 2, 3].map(|which| quartile(ratios.clone(), which));
        println!("{name:<24} {off:>10.1} {on:>10.1} {median:>8.4} {lower:>8.4} {upper:>8.4}");
    }
    Ok(())
}

fn quartile(mut values: Vec<f64>, which: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() * which / 4]
}

fn config(observe: Observe) -> Config {
    Config { observe, ..Config::new("bench", env!("CARGO_PKG_VERSION")) }
}

/// Both ends take turns.
fn work(kind: Kind, observe: [Observe; 2]) -> Result<Run, Error> {
    let ends = kind.ends_that(observe)?;
    Ok(Box::new(move |count| {
        let start = Instant::now();
        kind.run(&ends, count.into(), &mut Unmetered)?;
        Ok(start.elapsed())
    }))
}

/// Turns of which nothing is wanted.
struct Unmetered;

impl Meter for Unmetered {
    fn caller<T>(&mut self, turn: impl FnOnce() -> T) -> T {
        turn()
    }

    fn callee<T>(&mut self, turn: impl FnOnce() -> T) -> T {
        turn()
    }
}

fn echo(session: Session<PeerA>, body: &'static [u8]) -> Run {
    let options = CallOptions::new();
    Box::new(move |count| {
        let start = Instant::now();
        for _ in 0..count {
            session.call(ECHO, black_box(body), &options)?;
        }
        Ok(start.elapsed())
    })
}

fn typed(session: Session<PeerA>) -> Run {
    Box::new(move |count| {
        let client = TypedClient::new(&session).blocking();
        let start = Instant::now();
        for number in 0..u64::from(count) {
            client.next(black_box(number))?;
        }
        Ok(start.elapsed())
    })
}

fn in_flight(session: Session<PeerA>) -> Run {
    let options = CallOptions::new();
    Box::new(move |count| {
        let start = Instant::now();
        for _ in 0..count / 64 {
            let calls = (0..64).map(|_| session.start(ECHO, &[7; 8], &options)).collect::<Result<Vec<_>, _>>()?;
            calls.into_iter().try_for_each(|call| call.wait().map(drop))?;
        }
        Ok(start.elapsed())
    })
}
