//! Measures one row once: the client's process.
//!
//! Readings go to standard output, a line of JSON each.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Error;
use crate::args::Role;
use crate::clock::Clock;
use crate::figure::{Reading, median};
use crate::peer::{Client, Peer};
use crate::plan::{IN_FLIGHT, ONE_WAY_SIZES, Plan, SIZES};
use crate::server::{memory, processor_time, processor_time_of_others, wake_ups};
use crate::work::Work;

/// After it, both sides of a call have gone to rest.
const SETTLING: Duration = Duration::from_millis(20);

const MILLION: u64 = 1_000_000;

/// Measures, and prints.
pub fn run(peer: &dyn Peer, role: &Role, plan: &Plan) -> Result<(), Error> {
    let mut row = Row { peer, role, plan, clock: Clock::new(), room: Work::room(), places: 0 };
    row.starts()?;
    let mut client = row.start()?;
    row.unary(client.as_mut())?;
    row.memory(client.as_ref())?;
    row.throughput(client.as_mut())?;
    row.threads(client.as_mut())?;
    row.rest(client.as_mut())?;
    drop(client);
    row.plugins()?;
    row.growth()
}

struct Row<'a> {
    peer: &'a dyn Peer,
    role: &'a Role,
    plan: &'a Plan,
    clock: Clock,
    /// Room for times; while a measurement runs, it has it.
    room: Vec<u32>,
    places: usize,
}

impl Row<'_> {
    fn start(&mut self) -> Result<Box<dyn Client>, Error> {
        self.peer.start(&self.role.mode, &self.place()?)
    }

    /// A new folder.
    fn place(&mut self) -> Result<PathBuf, Error> {
        self.places += 1;
        let place = self.role.place.join(self.places.to_string());
        std::fs::create_dir_all(&place)?;
        Ok(place)
    }

    fn sequential(&mut self, client: &mut dyn Client, make: impl FnOnce(Vec<u32>) -> Work) -> Result<Work, Error> {
        let mut work = make(std::mem::take(&mut self.room));
        client.sequential(&mut work)?;
        Ok(work)
    }

    /// From the start of a process to its first reply.
    fn starts(&mut self) -> Result<(), Error> {
        let clock = self.clock.clone();
        let mut times = Vec::new();
        for _ in 0..self.plan.starts {
            let place = self.place()?;
            let begun = Instant::now();
            let mut client = self.peer.start(&self.role.mode, &place)?;
            let work = self.sequential(client.as_mut(), |room| Work::calls(&clock, 8, 1, room))?;
            times.push(begun.elapsed().as_secs_f64() * 1e9);
            self.room = work.into_room();
            if client.server_id().is_none() {
                return Ok(());
            }
        }
        times.sort_by(f64::total_cmp);
        say("spawn_to_first_reply", 0, median(&times), "ns")
    }

    fn unary(&mut self, client: &mut dyn Client) -> Result<(), Error> {
        let (clock, time) = (self.clock.clone(), self.plan.unary);
        for bytes in SIZES.into_iter().filter(|bytes| client.takes(*bytes)).collect::<Vec<_>>() {
            let work = self.sequential(client, |room| Work::sequential(&clock, bytes, time / 5, room))?;
            self.room = work.into_room();
            let bells_before = client.bells_and_sleeps()?;
            let before = self.processor_time(client)?;
            let mut work = self.sequential(client, |room| Work::sequential(&clock, bytes, time, room))?;
            let spent = self.processor_time(client)?.saturating_sub(before);
            let bells = client.bells_and_sleeps()?.zip(bells_before).map(|(after, before)| after - before);
            for (metric, per_mille) in [("unary_p50", 500), ("unary_p99", 990), ("unary_p999", 999)] {
                say(metric, bytes, work.quantile(per_mille), "ns")?;
            }
            if bytes == SIZES[0] && work.ended() > 0 {
                say("cpu_per_call", bytes, Some(spent.as_secs_f64() * 1e9 / work.ended() as f64), "ns")?;
                say("bells_and_sleeps", bytes, bells.map(|bells| bells as f64 / work.ended() as f64), "per call")?;
            }
            self.room = work.into_room();
        }
        Ok(())
    }

    /// Of client and server.
    fn processor_time(&self, client: &dyn Client) -> Result<Duration, Error> {
        let server = client.server_id().map_or(Ok(Duration::ZERO), processor_time)?;
        Ok(server + processor_time(std::process::id())?)
    }

    fn memory(&mut self, client: &dyn Client) -> Result<(), Error> {
        let Some(server) = client.server_id() else { return Ok(()) };
        // The room for times is nobody's but the race's.
        drop(std::mem::take(&mut self.room));
        let bytes = memory(server)? + memory(std::process::id())?;
        self.room = Work::room();
        say("memory", 0, Some(bytes as f64), "bytes")
    }

    fn throughput(&mut self, client: &mut dyn Client) -> Result<(), Error> {
        let (clock, time) = (self.clock.clone(), self.plan.throughput);
        let (depth, bytes) = IN_FLIGHT;
        if client.takes(bytes) {
            client.in_flight(&mut Work::in_flight(&clock, bytes, depth, time / 5))?;
            let mut work = Work::in_flight(&clock, bytes, depth, time);
            if client.in_flight(&mut work)? {
                let seconds = work.finish();
                say("in_flight_64", bytes, Some(work.ended() as f64 / seconds), "calls/s")?;
            }
        }
        for bytes in ONE_WAY_SIZES {
            if !client.takes(bytes) {
                continue;
            }
            client.one_way(&mut Work::in_flight(&clock, bytes, depth, time / 5))?;
            let mut work = Work::in_flight(&clock, bytes, depth, time);
            if client.one_way(&mut work)? {
                let seconds = work.finish();
                say("one_way", bytes, Some(work.ended() as f64 * bytes as f64 / seconds * 1e-9), "GB/s")?;
            }
        }
        Ok(())
    }

    /// Calls of 8 bytes by several threads at once.
    fn threads(&mut self, client: &mut dyn Client) -> Result<(), Error> {
        for count in self.plan.threads {
            let works =
                |time| (0..*count).map(|_| Work::in_flight(&self.clock, 8, *count + 1, time)).collect::<Vec<_>>();
            if !client.threads(&mut works(self.plan.throughput / 5))? {
                return Ok(());
            }
            let (mut works, begun) = (works(self.plan.throughput), Instant::now());
            client.threads(&mut works)?;
            let calls: u64 = works.iter().map(Work::ended).sum();
            say(&format!("threads_{count}"), 8, Some(calls as f64 / begun.elapsed().as_secs_f64()), "calls/s")?;
        }
        Ok(())
    }

    fn rest(&mut self, client: &mut dyn Client) -> Result<(), Error> {
        if !client.rests() {
            return Ok(());
        }
        let clock = self.clock.clone();
        for (pause, calls) in self.plan.silences {
            let mut work = self.sequential(client, |room| Work::paused(&clock, *pause, *calls, room))?;
            let metric = match pause.as_millis() {
                1000 => "first_call_after_1s".to_owned(),
                ms => format!("first_call_after_{ms}ms"),
            };
            say(&metric, 8, work.quantile(500), "ns")?;
            self.room = work.into_room();
        }
        let Some(server) = client.server_id() else { return Ok(()) };
        // The thread that measures sleeps, but for the measuring.
        let us = std::process::id();
        let spent = || Ok::<_, Error>(processor_time(server)? + processor_time_of_others(us)?);
        let woken = || Ok::<_, Error>(wake_ups(server)? + wake_ups(us)?);
        std::thread::sleep(SETTLING);
        let (before, woken_before, begun) = (spent()?, woken()?, Instant::now());
        std::thread::sleep(self.plan.idle);
        let seconds = begun.elapsed().as_secs_f64();
        let (share, woken) = (spent()?.saturating_sub(before).as_secs_f64() / seconds, woken()? - woken_before);
        say("idle_cpu", 0, Some(100.0 * share), "%")?;
        say("idle_wake_ups", 0, Some(woken as f64 / seconds), "per s")
    }

    /// One of several plugins of a host is busy.
    fn plugins(&mut self) -> Result<(), Error> {
        let clock = self.clock.clone();
        let mut clients: Vec<Box<dyn Client>> = Vec::new();
        let most = self.peer.servers_max(&self.role.mode);
        for count in self.plan.plugins.iter().filter(|count| **count <= most) {
            while clients.len() < *count {
                let mut client = self.start()?;
                if client.server_id().is_none() || !client.takes(8) {
                    return Ok(());
                }
                self.room = self.sequential(client.as_mut(), |room| Work::calls(&clock, 8, 1, room))?.into_room();
                clients.push(client);
            }
            let time = self.plan.unary / 2;
            let Some(busy) = clients.first_mut() else { break };
            for time in [time / 5, time] {
                let mut work = self.sequential(busy.as_mut(), |room| Work::sequential(&clock, 8, time, room))?;
                let median = work.quantile(500);
                self.room = work.into_room();
                if time == self.plan.unary / 2 {
                    say(&format!("plugins_{count}"), 8, median, "ns")?;
                }
            }
        }
        Ok(())
    }

    /// The mean call of the first million, and of the last.
    fn growth(&mut self) -> Result<(), Error> {
        if self.plan.millions == 0 || !self.peer.grows(&self.role.mode) {
            return Ok(());
        }
        let clock = self.clock.clone();
        let mut client = self.start()?;
        for million in 1..=self.plan.millions {
            let mut work = self.sequential(client.as_mut(), |room| Work::calls(&clock, 8, MILLION, room))?;
            let mean = work.finish() * 1e9 / work.ended().max(1) as f64;
            if work.ended() < MILLION {
                // It takes too long for what is left of the race.
                return Ok(());
            }
            if million == 1 || million == self.plan.millions {
                say(&format!("calls_{million}m"), 8, Some(mean), "ns")?;
            }
            self.room = work.into_room();
        }
        Ok(())
    }
}

fn say(metric: &str, bytes: usize, value: Option<f64>, unit: &str) -> Result<(), Error> {
    if let Some(value) = value {
        let reading = Reading { metric: metric.to_owned(), bytes, value, unit: unit.to_owned() };
        println!("{}", serde_json::to_string(&reading)?);
    }
    Ok(())
}
