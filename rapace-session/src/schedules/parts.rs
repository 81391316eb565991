//! Models that are small enough for every schedule there is.

use std::sync::Arc;
use std::time::Duration;

use rapace_core::socket::Socket;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::{check_dfs, thread};

use crate::alarm::Alarm;

/// Who falls asleep has seen what was stored before the alarm, or may not sleep, or is rung.
#[test]
fn an_alarm_is_seen_or_rung() {
    check_dfs(
        || {
            let (socket, _peer) = Socket::pair().unwrap();
            let (alarm, stored) = (Arc::new(Alarm::new().unwrap()), Arc::new(AtomicBool::new(false)));
            let raiser = {
                let (alarm, stored) = (Arc::clone(&alarm), Arc::clone(&stored));
                thread::spawn(move || {
                    stored.store(true, Ordering::SeqCst);
                    alarm.raise();
                })
            };
            alarm.clear();
            let seen = stored.load(Ordering::SeqCst);
            let sleeps = !seen && alarm.fall_asleep();
            raiser.join().unwrap();
            let rung = socket.wait_or_alarm(None, Some(alarm.event()), Some(Duration::ZERO)).unwrap().alarm;
            assert!(!sleeps || rung, "asleep over an alarm");
        },
        None,
    );
}
