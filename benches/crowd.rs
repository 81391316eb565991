//! What a host with many idle plugins costs: wake-ups, processor time and threads, and the latency of a call to one of
//! them, beside a host with one plugin. The two hosts are measured in turns.
//!
//! ```text
//! cargo bench -p rapace-benches --bench crowd
//! ```

use std::error::Error;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rapace_host::{PluginHandle, PluginHost, PluginSpec};
use rapace_plugin::{Plugin, run};
use rapace_session::{CallOptions, Config, IncomingCall, Router};

/// Plugins of the larger host.
const PLUGINS: usize = 200;
/// How long nobody calls anybody, to see what that costs.
const SILENCE: Duration = Duration::from_secs(5);
/// Turns, of so many calls each.
const TURNS: usize = 41;
const CALLS: usize = 2000;
/// The plugin's method.
const ECHO: u32 = 1;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    if std::env::var_os("RAPACE_PROTOCOL").is_some() {
        return run(|| {
            let services = Router::new().method(ECHO, |call: IncomingCall| call.reply(b"12345678"));
            Ok(Plugin::attach(Config::new("echo", "1.0.0"), "cargo bench", services)?.serve()?)
        });
    }
    // `cargo test --benches` only wants to know that it can be built.
    if std::env::args().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crowd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Outcome<()> {
    let alone = host_of(1)?;
    let threads_of_one = threads()?;
    drop(alone);
    let begun = Instant::now();
    let crowd = host_of(PLUGINS)?;
    let took = begun.elapsed();
    println!("start       {PLUGINS} plugins in {took:.2?}, {:.2?} each", took / u32::try_from(PLUGINS)?);
    println!("threads     {} with {PLUGINS} plugins, {threads_of_one} with one", threads()?);
    let alone = host_of(1)?;

    let pids: Vec<u32> = crowd.1.iter().filter_map(PluginHandle::process_id).chain([std::process::id()]).collect();
    settle(&pids)?;
    let all = || pids.iter().map(|pid| usage(*pid)).collect::<Outcome<Vec<_>>>();
    let before = all()?;
    std::thread::sleep(SILENCE);
    let after = all()?;
    let grown =
        |of: fn(&Usage) -> u64| before.iter().zip(&after).map(|(before, after)| of(after) - of(before)).sum::<u64>();
    println!(
        "idle        {SILENCE:?}: {} switches and {} ticks of processor time of {PLUGINS} plugins and their host",
        grown(|usage| usage.switches),
        grown(|usage| usage.ticks)
    );

    let (one, of_many) = (&alone.1[0], &crowd.1[PLUGINS / 2]);
    let mut ratios = Vec::new();
    let mut medians = [Vec::new(), Vec::new()];
    for turn in 0..TURNS {
        // Who begins takes turns too.
        let first_is_one = turn % 2 == 0;
        let [first, second] = if first_is_one { [one, of_many] } else { [of_many, one] };
        let (first, second) = (median_call(first)?, median_call(second)?);
        let (one, many) = if first_is_one { (first, second) } else { (second, first) };
        ratios.push(many.as_secs_f64() / one.as_secs_f64());
        medians[0].push(one);
        medians[1].push(many);
    }
    ratios.sort_by(f64::total_cmp);
    let [one, many] = medians.map(median);
    println!(
        "call        {many:.2?} to one of {PLUGINS}, {one:.2?} to the only one: {:.2} times, median of {TURNS} turns ({:.2} to {:.2})",
        ratios[TURNS / 2],
        ratios[TURNS / 4],
        ratios[TURNS * 3 / 4]
    );
    crowd.0.shutdown();
    alone.0.shutdown();
    Ok(())
}

fn host_of(plugins: usize) -> Outcome<(PluginHost, Vec<PluginHandle>)> {
    let host = PluginHost::builder(Config::new("crowd", "1.0.0")).build()?;
    let program = std::env::current_exe()?;
    let load = |index| Ok(host.load(PluginSpec::new(&format!("echo-{index}"), &program))?);
    let plugins = (0..plugins).map(load).collect::<Outcome<Vec<_>>>()?;
    Ok((host, plugins))
}

/// The median of many calls, once the two have found each other awake.
fn median_call(plugin: &PluginHandle) -> Outcome<Duration> {
    let options = CallOptions::new();
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let begun = Instant::now();
        plugin.call(ECHO, b"12345678", &options)?;
        times.push(begun.elapsed());
    }
    Ok(median(times))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn threads() -> Outcome<usize> {
    Ok(fs::read_dir("/proc/self/task")?.count())
}

struct Usage {
    switches: u64,
    ticks: u64,
}

/// What all threads of a process have used, but for the one that asks.
fn usage(pid: u32) -> Outcome<Usage> {
    let mut usage = Usage { switches: 0, ticks: 0 };
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        if fs::read_link("/proc/thread-self")?.ends_with(task.strip_prefix("/proc")?) {
            continue;
        }
        let status = fs::read_to_string(task.join("status"))?;
        let switches = status.lines().filter(|line| line.contains("voluntary_ctxt_switches:"));
        usage.switches += switches.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>();
        let stat = fs::read_to_string(task.join("stat"))?;
        // Behind the name, which may hold anything: user time and system time are the fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        usage.ticks += fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(usage)
}

/// Waits until nobody has anything to do any more.
fn settle(pids: &[u32]) -> Outcome<()> {
    let all = || pids.iter().map(|pid| Ok(usage(*pid)?.switches)).collect::<Outcome<Vec<_>>>();
    let mut before = all()?;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = all()?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
}
