//! What can go wrong with a call, and what each looks like to the caller.
//!
//! ```text
//! $ cargo run --example typed_error
//! book(1, "Ada"):   seat 1 for Ada
//! book(1, "Bob"):   the plugin says no: the seat is taken by Ada
//! book(99, "Bob"):  the plugin says no: seats go from 1 to 20
//! book(0, "Bob"):   no answer: Internal: the handler of demo.Theatre.book panicked: the callee's output says why
//! book(13, "Eve"):  no answer: the peer is gone: its process exited with code 3
//! book(14, "Eve"):  seat 14 for Eve
//!
//! A plugin that was built before tickets had a name:
//! seats():          20
//! book(1, "Ada"):   not sent, because the types differ:
//!   demo.Theatre.book (2549148506): result.Ok.0.name: String only here
//!   demo.Theatre.book (2549148506): result.Err.0.Taken: variant Taken { by: String } here, variant Taken there
//!   demo.Theatre.book (2549148506): result.Err.0.NoSuchSeat: variant NoSuchSeat { last: u8 } only here
//! ```
//!
//! An error of the method's own is part of its type: the caller matches on it, and the compiler says when a variant is
//! missing. Everything else is a `CallError`, and the same for all methods.
//!
//! This one program is the host and, started again with `--plugin NAME`, each of its plugins.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use rapace::prelude::*;
use thiserror::Error as ThisError;

const SEATS: u8 = 20;

/// A booked seat.
#[rapace::message]
struct Ticket {
    seat: u8,
    name: String,
}

/// Why a seat could not be booked.
#[rapace::message]
#[derive(ThisError)]
enum BookingError {
    #[error("the seat is taken by {by}")]
    Taken { by: String },
    #[error("seats go from 1 to {last}")]
    NoSuchSeat { last: u8 },
}

#[rapace::service(name = "demo.Theatre", version = "1.0", provider = "plugin")]
trait Theatre {
    async fn seats(&self) -> u8;
    async fn book(&self, seat: u8, name: &str) -> Result<Ticket, BookingError>;
}

#[derive(Default)]
struct Stalls(Mutex<HashMap<u8, String>>);

impl Theatre for Stalls {
    async fn seats(&self) -> u8 {
        SEATS
    }

    async fn book(&self, seat: u8, name: &str) -> Result<Ticket, BookingError> {
        assert_ne!(seat, 0, "a bug: nobody has thought of seat 0");
        if seat == 13 {
            // Worse than a bug: the end of the process.
            std::process::exit(3);
        }
        if seat > SEATS {
            return Err(BookingError::NoSuchSeat { last: SEATS });
        }
        let mut booked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(by) = booked.get(&seat) {
            return Err(BookingError::Taken { by: by.clone() });
        }
        booked.insert(seat, name.to_owned());
        Ok(Ticket { seat, name: name.to_owned() })
    }
}

/// The same service as it once was.
mod before {
    use rapace::prelude::*;

    use super::SEATS;

    #[rapace::message]
    pub(crate) struct Ticket {
        seat: u8,
    }

    #[rapace::message]
    pub(crate) enum BookingError {
        Taken,
    }

    #[rapace::service(name = "demo.Theatre", version = "1.0", provider = "plugin")]
    pub(crate) trait Theatre {
        async fn seats(&self) -> u8;
        async fn book(&self, seat: u8, name: &str) -> Result<Ticket, BookingError>;
    }

    pub(crate) struct Stalls;

    impl Theatre for Stalls {
        async fn seats(&self) -> u8 {
            SEATS
        }

        async fn book(&self, seat: u8, _: &str) -> Result<Ticket, BookingError> {
            Ok(Ticket { seat })
        }
    }

    pub(crate) fn services() -> Services {
        Services::new().add(TheatreServer::new(Stalls))
    }
}

fn main() -> Result<ExitCode, Box<dyn StdError>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &args[..]
        && flag == "--plugin"
    {
        return Ok(rapace::plugin::run(|| plugin(name)));
    }
    host()?;
    Ok(ExitCode::SUCCESS)
}

fn plugin(name: &str) -> Result<(), Box<dyn StdError>> {
    let services = match name {
        "theatre" => Services::new().add(TheatreServer::new(Stalls::default())),
        _ => before::services(),
    };
    let config = Config { registry: services.registry()?, ..Config::new(name, "1.0.0") };
    Ok(Plugin::attach(config, "cargo run --example typed_error", services)?.serve()?)
}

fn host() -> Result<(), Box<dyn StdError>> {
    let registry = Services::new().calls::<TheatreClient>().registry()?;
    let host = PluginHost::builder(Config { registry, ..Config::new("typed_error", "1.0.0") }).build()?;
    let program = std::env::current_exe()?;
    let load = |name| host.load(PluginSpec::new(name, &program).arg("--plugin").arg(name));

    let plugin = load("theatre")?;
    let theatre = TheatreClient::new(&plugin).blocking();
    for (seat, name) in [(1, "Ada"), (1, "Bob"), (99, "Bob"), (0, "Bob"), (13, "Eve")] {
        book(&theatre, seat, name);
    }
    // The same client calls whichever process there is.
    plugin.restart()?;
    book(&theatre, 14, "Eve");

    println!("\nA plugin that was built before tickets had a name:");
    let theatre = TheatreClient::new(&load("old-theatre")?).blocking();
    // Only the method that differs is refused.
    println!("seats():          {}", theatre.seats()?);
    book(&theatre, 1, "Ada");
    host.shutdown();
    Ok(())
}

fn book(theatre: &TheatreBlockingClient, seat: u8, name: &str) {
    let call = format!("book({seat}, {name:?}):");
    match theatre.book(seat, name) {
        Ok(ticket) => println!("{call:<17} seat {} for {}", ticket.seat, ticket.name),
        // Each variant could be matched here, with its fields.
        Err(Error::Service(error)) => println!("{call:<17} the plugin says no: {error}"),
        Err(Error::Call(CallError::Incompatible { difference })) => {
            println!("{call:<17} not sent, because the types differ:");
            difference.lines().for_each(|line| println!("  {line}"));
        }
        Err(Error::Call(error)) => println!("{call:<17} no answer: {error}"),
    }
}
