//! The sleep word: who is awake is not rung (SPEC section 8).
//!
//! ```text
//!   sleeper                            producer
//!   (a) store sleep word, odd          (c) publish
//!       fence SeqCst                       fence SeqCst
//!   (b) look at the ring again         (d) load sleep word
//!       nothing: poll the socket           asleep: ring, once per epoch
//! ```
//!
//! The two fences are totally ordered: either (d) sees (a), and the bell is rung, or (b) sees (c), and the sleeper does
//! not sleep.

use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::PeerWords;

const ASLEEP: u64 = 1;
const WANTS_ROOM: u64 = 1 << 1;
const EPOCH_SHIFT: u32 = 2;

/// What a sleeper wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Frames.
    Frames,
    /// Frames, and freed descriptors or slots.
    FramesAndRoom,
}

/// The sleeper's side: announces its own sleep.
#[derive(Debug, Default)]
pub struct Sleeper {
    epoch: u64,
    asleep: bool,
}

impl Sleeper {
    /// Says that we are about to sleep. The caller then looks again at all that it waits for, and sleeps only if
    /// nothing has come.
    pub fn arm(&mut self, word: &AtomicU64, interest: Interest) {
        if !self.asleep {
            self.epoch += 1;
            self.asleep = true;
        }
        let room = match interest {
            Interest::Frames => 0,
            Interest::FramesAndRoom => WANTS_ROOM,
        };
        word.store(self.epoch << EPOCH_SHIFT | room | ASLEEP, Ordering::Relaxed);
        // (a) before (b). Pairs with the fence in `Bell::due`.
        fence(Ordering::SeqCst);
    }

    /// Says that we are awake.
    pub fn disarm(&mut self, word: &AtomicU64) {
        if self.asleep {
            self.asleep = false;
            // Publishes nothing: a bell that comes too late is read later.
            word.store(self.epoch << EPOCH_SHIFT, Ordering::Relaxed);
        }
    }

    /// Whether we have said that we sleep.
    pub fn is_armed(&self) -> bool {
        self.asleep
    }

    /// How often we have gone to sleep: as many bells may be rung.
    pub fn sleeps(&self) -> u64 {
        self.epoch
    }
}

/// What has happened since the sleeper was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// A frame was published.
    pub frames: bool,
    /// Taken descriptors were announced, or slots returned.
    pub room: bool,
}

/// Whether a bell is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The peer is awake, or has no use for the news.
    No,
    /// The sleep has been rung, and goes on: the news are what the peer is on its way to.
    Already,
    /// It is.
    Now,
}

/// The producer's side: decides whether the peer must be rung.
#[derive(Debug, Default)]
pub struct Bell {
    /// The last epoch that was rung, one more, so that 0 is none.
    rung: u64,
    /// Fences that found the peer awake.
    saved: u64,
}

impl Bell {
    /// Whether a bell is due for the news, which have been published before.
    pub fn due(&mut self, sleep: PeerWords<'_>, news: News) -> bool {
        self.due_unless(sleep, news, || false) == Due::Now
    }

    /// The same, where `taken` says whether the peer has announced that it has all frames: one that takes them as soon as
    /// they are published may be asleep again before this is asked.
    pub fn due_unless(&mut self, sleep: PeerWords<'_>, news: News, taken: impl FnOnce() -> bool) -> Due {
        // (c) before (d). Pairs with the fence in `Sleeper::arm`.
        fence(Ordering::SeqCst);
        let word = sleep.load(0);
        // An announcement that is read too early only costs a bell.
        let wanted = word & ASLEEP != 0 && (news.room && word & WANTS_ROOM != 0 || news.frames && !taken());
        let epoch = (word >> EPOCH_SHIFT) + 1;
        if wanted && epoch != self.rung {
            self.rung = epoch;
            return Due::Now;
        }
        self.saved += u64::from(news.frames);
        if wanted { Due::Already } else { Due::No }
    }

    /// How often frames were published to a peer that was awake, or already rung.
    pub fn saved(&self) -> u64 {
        self.saved
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const FRAMES: News = News { frames: true, room: false };
    const ROOM: News = News { frames: false, room: true };

    #[test]
    fn a_sleeper_is_rung_once_per_sleep() {
        let word = [AtomicU64::new(0)];
        let (mut sleeper, mut bell) = (Sleeper::default(), Bell::default());
        assert!(!bell.due(PeerWords::new(&word), FRAMES));
        for sleeps in 1..5 {
            sleeper.arm(&word[0], Interest::Frames);
            assert!(sleeper.is_armed() && bell.due(PeerWords::new(&word), FRAMES));
            assert!(!bell.due(PeerWords::new(&word), FRAMES));
            sleeper.disarm(&word[0]);
            assert!(!sleeper.is_armed() && !bell.due(PeerWords::new(&word), FRAMES));
            assert_eq!(sleeper.sleeps(), sleeps);
        }
        assert_eq!(bell.saved(), 9);
    }

    #[test]
    fn any_epoch_is_rung_once() {
        let mut bell = Bell::default();
        for epoch in [0, 1, 7, 6, u64::MAX >> EPOCH_SHIFT] {
            let word = [AtomicU64::new(epoch << EPOCH_SHIFT | ASLEEP)];
            let rung = [(); 2].map(|()| bell.due(PeerWords::new(&word), FRAMES));
            assert_eq!(rung, [true, false], "epoch {epoch}");
        }
    }

    #[test]
    fn who_has_taken_the_frames_is_not_rung_for_them() {
        let word = [AtomicU64::new(0)];
        let (mut sleeper, mut bell) = (Sleeper::default(), Bell::default());
        let mut rings = |news, taken| bell.due_unless(PeerWords::new(&word), news, || taken) == Due::Now;
        sleeper.arm(&word[0], Interest::FramesAndRoom);
        assert!(!rings(FRAMES, true));
        assert!(rings(FRAMES, false), "the same sleep, and another frame");
        sleeper.disarm(&word[0]);
        sleeper.arm(&word[0], Interest::FramesAndRoom);
        assert!(rings(News { frames: true, room: true }, true), "for room");
    }

    #[test]
    fn room_wakes_only_who_waits_for_it() {
        let word = [AtomicU64::new(0)];
        let (mut sleeper, mut bell) = (Sleeper::default(), Bell::default());
        sleeper.arm(&word[0], Interest::Frames);
        assert!(!bell.due(PeerWords::new(&word), ROOM));
        sleeper.arm(&word[0], Interest::FramesAndRoom);
        assert_eq!(sleeper.sleeps(), 1);
        assert!(bell.due(PeerWords::new(&word), ROOM));
        assert!(!bell.due(PeerWords::new(&word), FRAMES));
    }
}
