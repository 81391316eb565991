//! Plugins that are built in, beside the same services through sessions.
#![allow(clippy::unwrap_used)]

mod contract;
mod ends;
mod kinds;
mod watched;

#[path = "../pair/mod.rs"]
mod pair;

use std::thread;
use std::time::{Duration, Instant};

use rapace_service::{BuiltIn, Services};

use contract::{Everything, EverythingServiceServer};

/// The implementation, built in.
fn built_in() -> BuiltIn {
    BuiltIn::new("plugin", "1", services()).unwrap()
}

fn services() -> Services {
    Services::new().add(EverythingServiceServer::new(Everything::default()))
}

/// Waits until it is so.
#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        thread::yield_now();
    }
}
