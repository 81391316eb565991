//! Records on their way to the host, within bounds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rapace_host_api::logger::{LogField, LogLevel, LogRecord, LogValue};

/// Records that wait.
const RECORDS_MAX: usize = 1024;
/// Bytes of their texts.
const BYTES_MAX: usize = 1 << 20;
/// So long the word of what was dropped waits when the host does not take it.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: VecDeque<LogRecord>,
    bytes: usize,
    /// Records that did not reach the host, of which it does not know.
    dropped: u64,
    /// What was dropped is told from then on.
    tell_from: Option<Instant>,
    is_sending: bool,
    is_closed: bool,
}

impl Queue {
    /// Adds a record, or drops it where there is no room.
    pub(super) fn push(&self, record: LogRecord) {
        let mut state = self.state.lock();
        let bytes = state.bytes + bytes(&record);
        if state.is_closed {
        } else if state.records.len() >= RECORDS_MAX || bytes > BYTES_MAX {
            state.dropped += 1;
        } else {
            state.bytes = bytes;
            state.records.push_back(record);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits for the next to be sent; none at the end. Behind all records comes the word of those that were dropped.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.is_sending) {
            self.changed.notify_all();
        }
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(record) = state.records.pop_front() {
                state.bytes -= bytes(&record);
                state.is_sending = true;
                return Some(Taken::Record(record));
            }
            let tell_from = state.tell_from.filter(|from| Instant::now() < *from);
            match tell_from {
                Some(from) => drop(self.changed.wait_until(&mut state, from)),
                None if state.dropped == 0 => self.changed.wait(&mut state),
                None => {
                    (state.is_sending, state.tell_from) = (true, None);
                    let dropped = std::mem::take(&mut state.dropped);
                    return Some(Taken::Dropped { dropped, record: word_of(dropped) });
                }
            }
        }
    }

    /// A record did not reach the host.
    pub(super) fn lost(&self) {
        self.state.lock().dropped += 1;
    }

    /// The word of so many did not. It is tried again in a while.
    pub(super) fn untold(&self, dropped: u64) {
        let mut state = self.state.lock();
        state.dropped += dropped;
        state.tell_from = Instant::now().checked_add(PAUSE);
    }

    /// Takes nothing more, and gives nothing out.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        (state.records, state.bytes) = (VecDeque::new(), 0);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until all has been sent.
    pub(super) fn flush(&self, deadline: Instant) {
        let mut state = self.state.lock();
        // There is no later time for it.
        state.tell_from = None;
        self.changed.notify_all();
        let is_left = |state: &mut State| {
            let waits = state.dropped > 0 && state.tell_from.is_none();
            !state.is_closed && (state.is_sending || !state.records.is_empty() || waits)
        };
        self.changed.wait_while_until(&mut state, is_left, deadline);
    }
}

/// What is to be sent.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    Record(LogRecord),
    /// The word of so many that were dropped.
    Dropped {
        dropped: u64,
        record: LogRecord,
    },
}

fn word_of(dropped: u64) -> LogRecord {
    let message = format!("{dropped} records were dropped: they did not reach the host in time");
    LogRecord::new(LogLevel::Warn, env!("CARGO_CRATE_NAME"), message).field("dropped", dropped)
}

fn bytes(record: &LogRecord) -> usize {
    let field = |LogField { name, value }: &LogField| match value {
        LogValue::Text(text) => name.len() + text.len(),
        LogValue::Bool(_) | LogValue::Int(_) | LogValue::Uint(_) | LogValue::Float(_) => name.len(),
    };
    record.target.len() + record.message.len() + record.fields.iter().map(field).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(bytes: usize) -> LogRecord {
        LogRecord::new(LogLevel::Info, "", "x".repeat(bytes))
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_behind_the_rest() {
        for (bytes, room) in [(1, RECORDS_MAX), (BYTES_MAX / 2, 2)] {
            let queue = Queue::default();
            (0..room + 5).for_each(|_| queue.push(record(bytes)));
            for _ in 0..room {
                assert_eq!(queue.take(), Some(Taken::Record(record(bytes))));
            }
            assert_eq!(queue.take(), Some(Taken::Dropped { dropped: 5, record: word_of(5) }));
            queue.lost();
            queue.untold(5);
            // Without the pause.
            queue.flush(Instant::now());
            queue.push(record(1));
            assert_eq!(queue.take(), Some(Taken::Record(record(1))));
            assert_eq!(queue.take(), Some(Taken::Dropped { dropped: 6, record: word_of(6) }));
        }
    }

    #[test]
    fn who_flushes_waits_until_the_last_is_sent_and_not_for_ever() {
        let queue = Queue::default();
        queue.push(record(1));
        queue.flush(Instant::now());
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| std::iter::from_fn(|| queue.take()).count());
            queue.flush(Instant::now() + Duration::from_secs(60));
            assert!(queue.state.lock().records.is_empty());
            queue.close();
            queue.push(record(1));
            assert_eq!(sender.join().unwrap(), 1);
        });
        queue.flush(Instant::now() + Duration::from_secs(60));
        assert_eq!((queue.take(), queue.state.lock().bytes), (None, 0));
    }
}
