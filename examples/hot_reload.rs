//! A plugin is replaced by another version, again and again, while four threads call it without pause. No call fails.
//!
//! ```text
//! $ cargo run --example hot_reload
//! version 1 is open: 4 threads draw tickets as fast as they can
//! behind ticket   500: version 2 takes over in 14 ms
//! behind ticket  1000: version 1 takes over in 23 ms
//! behind ticket  2500: version 2 takes over in 26 ms
//! behind ticket  3500: version 3 does not: initialize failed: FailedPrecondition: the printer has no paper
//! behind ticket  8000: version 1 takes over in 6 ms
//! behind ticket  8500: version 2 takes over in 6 ms
//! closed: 8612 tickets, from 1 to 8612; none was given twice, none is missing
//! version 1 gave 2327 of them, version 2 gave 6285
//! 0 calls failed; the one that took longest took 21 ms
//! ```
//!
//! This one program is the host and, started again with `--plugin`, its plugin; the argument behind that is the version. A
//! new version starts beside the old one. When it is ready, calls wait for a moment: those in flight come to their end, and
//! the number of the last ticket is handed over. A version that does not start changes nothing.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rapace::host::ReloadError;
use rapace::prelude::*;

/// So many threads draw tickets.
const THREADS: usize = 4;
/// A reload begins behind one of so many.
const TICKETS_BETWEEN_RELOADS: u64 = 500;

/// A ticket, and who gave it.
#[rapace::message]
struct Ticket {
    number: u64,
    version: u64,
}

#[rapace::service(name = "demo.TicketOffice", version = "1.0", provider = "plugin")]
trait TicketOffice {
    /// The next ticket. No two are alike.
    async fn draw(&self) -> Ticket;
}

struct Office {
    version: u64,
    last: Arc<AtomicU64>,
}

impl TicketOffice for Office {
    async fn draw(&self) -> Ticket {
        Ticket { number: self.last.fetch_add(1, Ordering::Relaxed) + 1, version: self.version }
    }
}

fn plugin(version: u64) -> ExitCode {
    let last = Arc::new(AtomicU64::new(0));
    let (exported, imported) = (Arc::clone(&last), Arc::clone(&last));
    PluginMain::new("tickets", format!("{version}.0.0"))
        .serve(TicketOfficeServer::new(Office { version, last }))
        .setup(move |_| if version == 3 { Err("the printer has no paper".into()) } else { Ok(()) })
        .export_state(move |_| exported.load(Ordering::Relaxed).to_le_bytes().to_vec())
        .import_state(move |_, state| {
            let number = state.try_into().map_err(|_| Status::new(Code::InvalidArgument, "expected 8 bytes"))?;
            imported.store(u64::from_le_bytes(number), Ordering::Relaxed);
            Ok(())
        })
        .run_with([])
}

/// What a thread has drawn.
#[derive(Default)]
struct Drawn {
    tickets: Vec<Ticket>,
    failures: Vec<CallError>,
    longest: Duration,
}

/// Draws tickets until it is told to stop. One of so many is told of.
fn draw(plugin: &PluginHandle, stop: &AtomicBool, milestones: &Sender<u64>) -> Drawn {
    let office = TicketOfficeClient::new(plugin).blocking();
    let mut drawn = Drawn::default();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let ticket = office.draw();
        drawn.longest = drawn.longest.max(began.elapsed());
        match ticket {
            Ok(ticket) => {
                if ticket.number % TICKETS_BETWEEN_RELOADS == 0 {
                    // Behind the last reload nobody listens.
                    let _ = milestones.send(ticket.number);
                }
                drawn.tickets.push(ticket);
            }
            Err(error) => drawn.failures.push(error),
        }
    }
    drawn
}

fn host() -> Result<(), Box<dyn Error>> {
    let expected = |_: &PluginScope| Services::new().calls::<TicketOfficeClient>();
    let host = PluginHost::builder(Config::new("box-office", env!("CARGO_PKG_VERSION"))).services(expected).build()?;
    let program = std::env::current_exe()?;
    let version = |number: u64| PluginSpec::new("tickets", &program).arg("--plugin").arg(number.to_string());
    let plugin = host.load(version(1))?;
    println!("version 1 is open: {THREADS} threads draw tickets as fast as they can");

    let stop = AtomicBool::new(false);
    let drawn = thread::scope(|scope| {
        let (milestones, passed) = channel();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let milestones = milestones.clone();
                let (plugin, stop) = (&plugin, &stop);
                scope.spawn(move || draw(plugin, stop, &milestones))
            })
            .collect();
        for number in [2, 1, 2, 3, 1, 2] {
            // Those that were passed during the last reload are too old.
            passed.try_iter().for_each(drop);
            let Ok(ticket) = passed.recv() else { break };
            let began = Instant::now();
            match plugin.reload(version(number)) {
                Ok(()) => {
                    let took = began.elapsed().as_millis();
                    println!("behind ticket {ticket:5}: version {number} takes over in {took} ms");
                }
                Err(ReloadError::Start(error)) => {
                    println!("behind ticket {ticket:5}: version {number} does not: {}", error.cause);
                }
                Err(error) => println!("behind ticket {ticket:5}: {error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    host.shutdown();
    report(drawn)
}

/// Says what came of it; an error if a call failed, or a ticket is missing or was given twice.
fn report(drawn: Vec<Drawn>) -> Result<(), Box<dyn Error>> {
    let longest = drawn.iter().map(|drawn| drawn.longest).max().unwrap_or_default();
    let (tickets, failures): (Vec<_>, Vec<_>) = drawn.into_iter().map(|drawn| (drawn.tickets, drawn.failures)).unzip();
    let (mut tickets, failures) = (tickets.concat(), failures.into_iter().flatten().collect::<Vec<_>>());
    tickets.sort_by_key(|ticket| ticket.number);
    if let Some((expected, found)) = (1..).zip(&tickets).find(|(expected, ticket)| *expected != ticket.number) {
        return Err(format!("expected ticket {expected}, found {}", found.number).into());
    }
    let count = tickets.len();
    println!("closed: {count} tickets, from 1 to {count}; none was given twice, none is missing");
    let of = |version| tickets.iter().filter(|ticket| ticket.version == version).count();
    println!("version 1 gave {} of them, version 2 gave {}", of(1), of(2));
    println!("{} calls failed; the one that took longest took {} ms", failures.len(), longest.as_millis());
    match failures.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    if let (Some("--plugin"), Some(version)) = (arguments.next().as_deref(), arguments.next()) {
        return Ok(plugin(version.parse()?));
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}
