//! What the plugins that are borne with cost their host: its own processor time for each call of the good one.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::Signal;
use nix::sys::time::{TimeVal, TimeValLike};
use rapace_core::link::LinkStats;
use rapace_host::PluginHandle;
use rapace_tests::hostile::Hostile;

use crate::good::call;
use crate::stand::{Bare, alone};
use crate::support::eventually;

/// Those that ask nothing of their host but its time.
const FLOODS: [Hostile; 8] = [
    Hostile::FloodsPings,
    Hostile::FloodsPongs,
    Hostile::FloodsCancels,
    Hostile::FloodsGrants,
    Hostile::FloodsGoAways,
    Hostile::FloodsEnds,
    Hostile::RingsAtEachSleep,
    Hostile::SendsPiecesWithoutEnd,
];
/// Calls in a round, rounds of which the median counts, and how often all of that is tried.
const CALLS: u64 = 300;
const ROUNDS: usize = 3;
const ATTEMPTS: usize = 8;
const RATIO_MAX: f64 = 2.0;
/// On a machine that is busy with other things a call takes long, and a flood is taken at its pace meanwhile: then it costs more,
/// but no more than this of the time that goes by.
const SHARE_MAX: f64 = 0.25;

/// The pace of a host: the rounds of its attendant in a window, and a few beside, such as the first of a rest.
const WINDOW: Duration = Duration::from_millis(10);
const ROUNDS_PER_WINDOW: u64 = 24;
const FRAMES_PER_ROUND: u64 = 256;
const STRETCH: Duration = Duration::from_millis(300);

fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = |time: TimeVal| time.num_microseconds().cast_unsigned();
    Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time()))
}

/// What a call of the good plugin costs this process, and how long it takes.
fn cost(good: &PluginHandle) -> [Duration; 2] {
    let (before, start) = (processor_time(), Instant::now());
    (0..CALLS).for_each(|number| call(good, number));
    [processor_time() - before, start.elapsed()].map(|time| time / u32::try_from(CALLS).unwrap())
}

fn median(mut costs: Vec<[Duration; 2]>) -> [f64; 2] {
    costs.sort_unstable();
    costs[costs.len() / 2].map(|time| time.as_secs_f64())
}

/// How much more a good call costs beside this plugin than beside the same one that is stopped: by how much as much, and by
/// which share of the time.
fn ratio(bare: &Bare) -> [f64; 2] {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.signal(Signal::SIGSTOP);
        without.push(cost(&bare.good));
        bare.signal(Signal::SIGCONT);
        with.push(cost(&bare.good));
    }
    let ([with, took], [without, _]) = (median(with), median(without));
    [with / without, (with - without) / took]
}

#[test]
fn a_good_call_costs_no_more_than_twice_as_much_beside_a_hostile_flood() {
    let _alone = alone();
    for behaviour in FLOODS {
        let bare = Bare::start(behaviour);
        // Both sides of the quotient vary on a machine that has other things to do.
        let mut ratios = Vec::new();
        while ratios.last().is_none_or(|[ratio, share]: &[f64; 2]| *ratio > RATIO_MAX && *share > SHARE_MAX) {
            assert!(ratios.len() < ATTEMPTS, "{behaviour:?}: {ratios:?}");
            ratios.push(ratio(&bare));
        }
    }
}

/// A flood does not have its host's processor: what is of no use is taken in rounds, so many of them in a time.
#[test]
fn a_hostile_flood_is_taken_at_the_pace_of_its_host() {
    let _alone = alone();
    for (behaviour, count) in [
        (Hostile::RingsAtEachSleep, (|stats| stats.sleeps) as fn(LinkStats) -> u64),
        (Hostile::FloodsPings, |stats| stats.frames_received / FRAMES_PER_ROUND),
        (Hostile::FloodsCredit, |stats| stats.frames_received / FRAMES_PER_ROUND),
    ] {
        let bare = Bare::start(behaviour);
        let stats = || count(bare.hostile_stats());
        let (before, start) = (stats(), Instant::now());
        // A stretch of time is what is tested.
        eventually("it has begun", || stats() > before);
        eventually("it has gone on", || start.elapsed() > STRETCH);
        let (rounds, windows) = (stats() - before, start.elapsed().as_millis() / WINDOW.as_millis() + 2);
        let bound = u64::try_from(windows).unwrap() * ROUNDS_PER_WINDOW;
        assert!(rounds <= bound, "{behaviour:?}: {rounds} rounds in {:?}, but {bound} may be", start.elapsed());
    }
}
