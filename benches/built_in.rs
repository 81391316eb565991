//! Typed calls of a plugin that is built in, beside the call of the trait's method itself and the call of a process.
//!
//! `cargo bench -p rapace-benches --bench built_in`; with `-- zzz` it prints only the table.
//!
//! Each row calls the same method of the same implementation, with a number there and a number back. The table interleaves
//! its rows, run by run, and shows medians and ratios to the call of the method.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use criterion::Criterion;
use rapace_benches::typed::{Plugin, Typed, TypedClient, built_in};
use rapace_benches::{Error, play_role, typed_session};

fn main() -> Result<(), Error> {
    if play_role()? {
        return Ok(());
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("built-in");
    for (name, _, run) in ROWS {
        group.bench_function(name, |bencher| bencher.iter_custom(|count| run(count).unwrap()));
    }
    group.finish();
    criterion.final_summary();
    // `cargo test --benches` only wants to see that it runs.
    let runs = if std::env::args().any(|arg| arg == "--test") { 1 } else { RUNS };
    table(runs)
}

/// How often each row is measured for the table: in runs that are shorter than a turn of the scheduler.
const RUNS: usize = 51;

/// A row: its name, what is counted in a run, and how to time it.
type Row = (&'static str, u64, fn(u64) -> Result<Duration, Error>);

const ROWS: [Row; 7] = [
    ("the trait's method", 20_000, |count| Ok(timed(count, |number| ready(Plugin.next(number))))),
    ("blocking", 20_000, |count| {
        let client = TypedClient::new(&built_in()?).blocking();
        Ok(timed(count, |number| client.next(number).unwrap()))
    }),
    ("blocking, with a context", 20_000, |count| {
        let client = TypedClient::new(&built_in()?).blocking();
        Ok(timed(count, |number| number + u64::from(client.depth().unwrap())))
    }),
    ("awaited", 20_000, |count| {
        let client = TypedClient::new(&built_in()?);
        Ok(timed(count, |number| ready(client.next(number)).unwrap()))
    }),
    ("item from it", 20_000, |count| {
        let client = TypedClient::new(&built_in()?).blocking();
        let mut items = client.count(count, 0)?;
        Ok(timed(count, |number| number + 1 + items.next().unwrap().unwrap().len() as u64))
    }),
    ("item to it", 20_000, |count| {
        let client = TypedClient::new(&built_in()?).blocking();
        let start = Instant::now();
        assert_eq!(client.sum(0..count)?, (0..count).fold(0, u64::wrapping_add));
        Ok(start.elapsed())
    }),
    ("blocking, a process", 2_000, |count| {
        let session = typed_session("adaptive")?;
        let client = TypedClient::new(&session).blocking();
        Ok(timed(count, |number| client.next(number).unwrap()))
    }),
];

/// The result of what is ready at once.
fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the implementation waits for nothing"),
    }
}

fn timed(count: u64, next: impl FnMut(u64) -> u64) -> Duration {
    let mut next = next;
    let start = Instant::now();
    for number in 0..count {
        assert_eq!(next(black_box(number)), number + 1);
    }
    start.elapsed()
}

fn table(runs: usize) -> Result<(), Error> {
    let mut times = [const { Vec::new() }; ROWS.len()];
    for _ in 0..runs {
        for ((_, count, run), times) in ROWS.iter().zip(&mut times) {
            run(*count / 10)?;
            times.push(run(*count)?.as_secs_f64() * 1e9 / *count as f64);
        }
    }
    println!("\n{:<26} {:>10} {:>10} {:>10} {:>10}", "each", "median ns", "min", "max", "ratio");
    let mut limit = None;
    for ((name, ..), mut times) in ROWS.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let ratio = median / *limit.get_or_insert(median);
        println!("{name:<26} {median:>10.1} {:>10.1} {:>10.1} {ratio:>10.1}", times[0], times[times.len() - 1]);
    }
    Ok(())
}
