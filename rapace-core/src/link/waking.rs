//! Sleep and wake: bells, announced sleeps, and what each side says of how it is.

use tracing::{debug, trace};

use super::{Link, PULSE_LAST, Pulse, SocketNews};
use crate::crash::{Point, crash_point};
use crate::fault::PeerFault;
use crate::layout::header;
use crate::sleep::{Due, Interest, News};
use crate::socket::Ring;
use crate::sync::Ordering;

/// Datagrams that are read from the socket in one go.
const BELLS_PER_DRAIN: usize = 64;

impl Link {
    /// Rings the peer if it sleeps and something has been published for it since the last flush: at most one system
    /// call, and none while the peer is awake.
    #[inline]
    pub fn flush(&mut self) {
        if self.news != News::default() {
            self.flush_news();
        }
    }

    fn flush_news(&mut self) {
        crash_point(Point::BeforeFence);
        let news = std::mem::take(&mut self.news);
        let taken = || self.peer.words(header::CONSUMED, 1).load(0) == self.producer.published();
        let due = self.bell.due_unless(self.peer.words(header::SLEEP, 1), news, taken);
        if due == Due::No {
            return;
        }
        // Before the bell: the peer may have answered it before we are back.
        self.peer_heartbeat = self.peer.words(header::HEARTBEAT, 1).load(0);
        self.news_to_sleeper += 1;
        if due == Due::Already {
            return;
        }
        crash_point(Point::BeforeBell);
        let rung = self.socket.ring();
        crash_point(Point::AfterBell);
        match rung {
            Ok(Ring::Rung | Ring::Full) => self.stats.bells_sent += 1,
            Ok(Ring::PeerGone) => trace!("the bell found the peer gone"),
            // The sleeper's own timers are the remedy, as for a peer that never rings.
            Err(error) => debug!(%error, "the bell could not be rung"),
        }
    }

    /// Announces a sleep. The caller then looks again, by [`Link::watch`], at all that it waits for.
    pub fn arm(&mut self, interest: Interest) {
        self.announce();
        self.flush();
        crash_point(Point::BeforeArm);
        self.sleeper.arm(&self.own.words(header::SLEEP, 1)[0], interest);
        crash_point(Point::Armed);
    }

    /// Says that this peer is awake again.
    pub fn disarm(&mut self) {
        if self.sleeper.is_armed() {
            self.sleeper.disarm(&self.own.words(header::SLEEP, 1)[0]);
            crash_point(Point::Disarmed);
        }
    }

    /// Whether a sleep is announced.
    pub fn is_armed(&self) -> bool {
        self.sleeper.is_armed()
    }

    /// How often there was something to wake the peer for, rung before or not, and its count of progress before the last.
    pub fn news_to_sleeper(&self) -> (u64, u64) {
        (self.news_to_sleeper, self.peer_heartbeat)
    }

    /// Reads what is on the socket, in bounded steps.
    ///
    /// # Errors
    ///
    /// K6 for a malformed datagram, K7 for more bells than sleeps.
    pub fn read_socket(&mut self) -> Result<SocketNews, PeerFault> {
        let drained = self.socket.drain(BELLS_PER_DRAIN)?;
        if drained.bells > 0 {
            crash_point(Point::BellsRead);
        }
        self.stats.bells_received += drained.bells as u64;
        if self.stats.bells_received > self.sleeper.sleeps() {
            return Err(PeerFault::Bells { found: self.stats.bells_received, bound: self.sleeper.sleeps() });
        }
        Ok(SocketNews { ended: drained.ended, refusal: drained.refusal, more: drained.more })
    }

    /// Says how this peer is.
    pub fn set_pulse(&mut self, pulse: Pulse) {
        if self.pulse != pulse && self.pulse != Pulse::Closed {
            self.pulse = pulse;
            // Publishes nothing.
            self.own.words(header::STATE, 1)[0].store(pulse.raw(), Ordering::Relaxed);
            match pulse {
                Pulse::Active => crash_point(Point::PulseActive),
                Pulse::Dormant => crash_point(Point::PulseDormant),
                Pulse::Closed => crash_point(Point::PulseClosed),
                Pulse::Starting => {}
            }
        }
    }

    /// Says that this peer makes progress.
    pub fn beat(&mut self) {
        self.heartbeat += 1;
        // Publishes nothing: the receiver only compares it with the last value that it saw.
        self.own.words(header::HEARTBEAT, 1)[0].store(self.heartbeat, Ordering::Relaxed);
        crash_point(Point::Beat);
    }

    /// What the peer says of itself, and its count of progress.
    ///
    /// # Errors
    ///
    /// L6 when the state is none of the four.
    pub fn peer_pulse(&self) -> Result<(Pulse, u64), PeerFault> {
        let heartbeat = self.peer.words(header::HEARTBEAT, 1).load(0);
        let pulse = match self.peer.words(header::STATE, 1).load(0) {
            0 => Pulse::Starting,
            1 => Pulse::Active,
            2 => Pulse::Dormant,
            3 => Pulse::Closed,
            found => return Err(PeerFault::State { found, last: PULSE_LAST }),
        };
        Ok((pulse, heartbeat))
    }
}
