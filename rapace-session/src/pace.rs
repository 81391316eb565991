//! Bounds the time that goes into a peer that only makes noise.
//!
//! A peer may ping, cancel what has ended and ring at each sleep as often as it likes: no rule tells too much of it from
//! enough. So whoever attends to a session takes a rest when it has been woken for nothing too often, and hears of the
//! peer's next frame that much later. A thread that waits for a reply looks for itself meanwhile.

use std::time::{Duration, Instant};

/// Rounds for nothing that are borne with in a window.
const ROUNDS: u32 = 16;
/// The window, at whose end a rest ends: the most that one rest adds to the time of a call.
const WINDOW: Duration = Duration::from_millis(10);

/// What one attendant knows of its peer's noise.
#[derive(Debug)]
pub(crate) struct Pace {
    /// The beginning of the window.
    since: Instant,
    rounds: u32,
    rests_until: Option<Instant>,
    #[cfg(test)]
    pub(crate) rests: u32,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            rounds: 0,
            rests_until: None,
            #[cfg(test)]
            rests: 0,
        }
    }

    /// A round has brought nothing that anybody had use for.
    pub(crate) fn in_vain(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= WINDOW {
            (self.since, self.rounds) = (now, 0);
        }
        self.rounds += 1;
        if self.rounds > ROUNDS {
            self.rests_until = Some(self.since + WINDOW);
            #[cfg(test)]
            {
                self.rests += 1;
            }
        }
    }

    /// A round has brought something of use: an honest peer's cancels that come too late are beside it.
    pub(crate) fn of_use(&mut self) {
        self.rounds = self.rounds.saturating_sub(1);
    }

    /// Until when the rest lasts, if there is one. The clock is read only then.
    pub(crate) fn rests_until(&mut self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        self.rests_until = self.rests_until.filter(|until| now() < *until);
        self.rests_until
    }
}

#[cfg(test)]
mod tests {
    use rapace_core::channel::ChannelGeneration;
    use rapace_core::descriptor::{Flags, FrameHeader, Verb};
    use rapace_core::slots::Class;
    use rapace_core::socket::Socket;
    use rapace_core::wait::WaitStrategy;
    use rapace_core::{ChannelId, Side};

    use super::*;
    use crate::machine::Request;
    use crate::shared::request;
    use crate::tokio::AsyncSession;
    use crate::{CallOptions, Config, Handshake, IncomingCall, NoService, PeerA, PeerB, Session, Streams};

    #[test]
    fn too_much_noise_in_a_window_is_followed_by_a_rest() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..ROUNDS {
            pace.in_vain(start + WINDOW / 2);
            assert_eq!(pace.rests_until(|| start), None);
        }
        pace.in_vain(start + WINDOW / 2);
        assert_eq!(pace.rests_until(|| start + WINDOW / 2), Some(start + WINDOW));
        assert_eq!(pace.rests, 1);
        assert_eq!(pace.rests_until(|| start + WINDOW), None);
        pace.in_vain(start + WINDOW);
        assert_eq!(pace.rests_until(|| start + WINDOW), None, "the next window has begun");
    }

    #[test]
    fn what_is_of_use_makes_up_for_noise() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..100 * ROUNDS {
            pace.in_vain(start);
            pace.of_use();
        }
        assert_eq!(pace.rests_until(|| start), None);
    }

    #[test]
    fn noise_now_and_then_is_borne_with_for_ever() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for round in 0..10 * ROUNDS {
            let now = start + WINDOW / ROUNDS * round;
            pace.in_vain(now);
            assert_eq!(pace.rests_until(|| now), None, "{round}");
        }
    }

    fn pair(config: Config) -> (Session<PeerA>, Session<PeerB>) {
        let (a, b) = Socket::pair().unwrap();
        let theirs = config.clone();
        let plugin = std::thread::spawn(move || {
            Handshake::<PeerB>::accept(b, theirs).unwrap().finish(|call: IncomingCall| call.reply(b"")).unwrap()
        });
        let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(NoService).unwrap();
        (host, plugin.join().unwrap())
    }

    /// Each request and each reply rings, and is taken before its bell is read.
    #[tokio::test]
    async fn an_honest_peer_is_never_put_to_rest() {
        let (host, plugin) = pair(Config { wait: WaitStrategy::Park, ..Config::new("test", "1") });
        let (host, plugin) = (AsyncSession::new(host).unwrap(), AsyncSession::new(plugin).unwrap());
        for _ in 0..200 {
            host.call(1, b"", &CallOptions::new()).await.unwrap();
        }
        let rests = [host.session().shared().state().pace.rests, plugin.session().shared().state().pace.rests];
        assert_eq!(rests, [0, 0]);
    }

    /// That of a call that waits for its handler is none.
    #[test]
    fn cancels_of_what_is_not_in_flight_are_noise() {
        let (host, plugin) = pair(Config::new("test", "1"));
        let (call, options) = (ChannelId::new(Side::B, 0, ChannelGeneration::FIRST.next()), CallOptions::new());
        let mut state = plugin.shared().state();
        state.open(&request(1, b"", &options)).unwrap();
        for channel in [ChannelId::new(Side::B, 0, ChannelGeneration::FIRST), call, call, ChannelId::CONTROL] {
            let header = FrameHeader::control(Verb::Cancel);
            state.link.try_send(Class::Control, &header, &[&channel.raw().to_le_bytes()]).unwrap();
        }
        plugin.shared().leave(state);
        let mut state = host.shared().state();
        let before = (state.link.stats().frames_received, state.link.ignored());
        state.pump();
        let now = (state.link.stats().frames_received, state.link.ignored());
        assert_eq!((now.0 - before.0, now.1 - before.1), (5, 3));
        host.shared().leave(state);
    }

    /// A stream that has credit, and whose sender sends nothing.
    #[test]
    fn grants_of_next_to_nothing_are_noise() {
        let (host, plugin) = pair(Config::new("test", "1"));
        let (channel, options) = (ChannelId::new(Side::B, 0, ChannelGeneration::FIRST.next()), CallOptions::new());
        let mut state = plugin.shared().state();
        let streams = Streams { sends: false, receives: true };
        state.open(&Request { streams, ..request(1, b"", &options) }).unwrap();
        for credit in [1, 64, 1] {
            let header = FrameHeader { flags: Flags::CREDIT, credit, ..FrameHeader::control(Verb::Grant) };
            state.link.try_send(Class::Control, &header, &[&channel.raw().to_le_bytes()]).unwrap();
        }
        plugin.shared().leave(state);
        let mut state = host.shared().state();
        let before = (state.link.stats().frames_received, state.link.ignored());
        state.pump();
        let now = (state.link.stats().frames_received, state.link.ignored());
        assert_eq!((now.0 - before.0, now.1 - before.1), (4, 3));
        host.shared().leave(state);
    }
}
