//! The descriptor ring: one producer, one consumer, one cache line a message (SPEC section 6).
//!
//! ```text
//!   entry      0      1      2      3
//!            +------+------+------+------+
//!   word 0   |  9   |  6   |  7   |  8   |    message m lies in entry (m - 1) mod N
//!   1 to 7   | ...  | ...  | ...  | ...  |    consumer waits for 10 in entry 1, and sees 6: not yet
//!            +------+------+------+------+
//! ```
//!
//! The sequence number of a message is its publication: the consumer polls the very line that it will read. Both cursors
//! are private. What the peer's half says is checked against them, and has three outcomes: something, nothing, a fault.

use crossbeam::utils::CachePadded;

use crate::crash::{Point, crash_point};
use crate::descriptor::BODY_WORDS;
use crate::fault::PeerFault;
use crate::layout::LINE_WORDS;
use crate::sync::{AtomicU64, Ordering, fence};
use crate::words::PeerWords;

/// The sending end of a ring: publishes into its own half.
#[derive(Debug)]
pub struct Producer {
    capacity: u64,
    cursors: CachePadded<ProducerCursors>,
}

#[derive(Debug)]
struct ProducerCursors {
    published: u64,
    /// The consumer's last announcement that was accepted.
    consumed: u64,
}

impl Producer {
    /// The producer of an empty ring of `capacity` entries, a power of two.
    pub fn new(capacity: u32) -> Self {
        debug_assert!(capacity.is_power_of_two());
        Self { capacity: capacity.into(), cursors: CachePadded::new(ProducerCursors { published: 0, consumed: 0 }) }
    }

    /// Whether a message can be published that leaves `reserve` entries free behind it.
    ///
    /// `consumed` is the one word of the peer's progress, read only when the last view of it says full.
    ///
    /// # Errors
    ///
    /// R4 when the peer's progress goes backwards or beyond what was published.
    #[inline]
    pub fn has_room(&mut self, reserve: u32, consumed: PeerWords<'_>) -> Result<bool, PeerFault> {
        if self.fits(reserve) {
            return Ok(true);
        }
        self.refresh(consumed)?;
        Ok(self.fits(reserve))
    }

    /// Reads the peer's progress; says whether there was any since the last view of it.
    ///
    /// # Errors
    ///
    /// R4, as [`Producer::has_room`].
    pub fn refresh(&mut self, consumed: PeerWords<'_>) -> Result<bool, PeerFault> {
        let found = consumed.load(0);
        let ProducerCursors { published, consumed: least } = *self.cursors;
        if found < least || found > published {
            return Err(PeerFault::Consumed { found, least, most: published });
        }
        // Pairs with the Release in `Consumer::announce`: the consumer's reads of the entries that it gives back come
        // before our writes to them.
        fence(Ordering::Acquire);
        self.cursors.consumed = found;
        Ok(found != least)
    }

    /// The last view of the peer's progress.
    pub fn consumed_seen(&self) -> u64 {
        self.cursors.consumed
    }

    /// Publishes a message. [`Producer::has_room`] must have said that there is room.
    #[inline]
    pub fn publish(&mut self, ring: &[AtomicU64], body: &[u64; BODY_WORDS]) {
        assert!(self.fits(0), "published into a full ring");
        let at = entry(self.cursors.published, self.capacity);
        let words = &ring[at..at + LINE_WORDS];
        for (word, value) in words[1..].iter().zip(body) {
            word.store(*value, Ordering::Relaxed);
        }
        crash_point(Point::DescriptorWritten);
        self.cursors.published += 1;
        // Pairs with the Acquire fence in `Consumer::take`: it publishes the seven words above, and the payload.
        words[0].store(self.cursors.published, Ordering::Release);
        crash_point(Point::Published);
    }

    /// Messages published so far.
    pub fn published(&self) -> u64 {
        self.cursors.published
    }

    fn fits(&self, reserve: u32) -> bool {
        self.cursors.published - self.cursors.consumed + u64::from(reserve) < self.capacity
    }
}

/// The receiving end of a ring: reads the peer's half.
#[derive(Debug)]
pub struct Consumer {
    capacity: u64,
    cursors: CachePadded<ConsumerCursors>,
}

#[derive(Debug)]
struct ConsumerCursors {
    taken: u64,
    announced: u64,
}

/// Where the next message will appear, for a waiter that looks without taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextEntry {
    /// Index of the word in the ring.
    pub word: usize,
    /// What it holds until something has come.
    pub empty: u64,
}

impl Consumer {
    /// The consumer of an empty ring of `capacity` entries, a power of two.
    pub fn new(capacity: u32) -> Self {
        debug_assert!(capacity.is_power_of_two());
        Self { capacity: capacity.into(), cursors: CachePadded::new(ConsumerCursors { taken: 0, announced: 0 }) }
    }

    /// Where the next message will appear.
    #[inline]
    pub fn next(&self) -> NextEntry {
        let taken = self.cursors.taken;
        // In the first lap the entry is still zero.
        NextEntry { word: entry(taken, self.capacity), empty: (taken + 1).saturating_sub(self.capacity) }
    }

    /// Whether there is anything but the message of the lap before: what it is, [`Consumer::take`] finds out.
    #[inline]
    pub fn has_next(&self, ring: PeerWords<'_>) -> bool {
        let NextEntry { word, empty } = self.next();
        ring.load(word) != empty
    }

    /// Takes the next message, if it is there: a copy of its words behind the sequence word, all of them allegations.
    ///
    /// # Errors
    ///
    /// D1 when the entry holds neither the message that is due nor the one of the lap before. The cursor stays.
    #[inline]
    pub fn take(&mut self, ring: PeerWords<'_>) -> Result<Option<[u64; BODY_WORDS]>, PeerFault> {
        let NextEntry { word, empty } = self.next();
        let due = self.cursors.taken + 1;
        let found = ring.load(word);
        if found != due {
            return if found == empty { Ok(None) } else { Err(PeerFault::Sequence { found, due }) };
        }
        // Pairs with the Release in `Producer::publish`.
        fence(Ordering::Acquire);
        let body = ring.load_array(word + 1);
        self.cursors.taken = due;
        crash_point(Point::Taken);
        Ok(Some(body))
    }

    /// Whether half a ring has been taken since the last announcement, so that one is due.
    pub fn announcement_due(&self) -> bool {
        self.cursors.taken - self.cursors.announced >= self.capacity / 2
    }

    /// Announces what has been taken; says whether that was news.
    pub fn announce(&mut self, consumed: &AtomicU64) -> bool {
        let news = self.cursors.announced != self.cursors.taken;
        if news {
            self.cursors.announced = self.cursors.taken;
            // Pairs with the Acquire fence in `Producer::has_room`: the loads in `take` come before.
            consumed.store(self.cursors.taken, Ordering::Release);
        }
        news
    }

    /// Messages taken so far.
    pub fn taken(&self) -> u64 {
        self.cursors.taken
    }
}

/// Index of the first word of the entry behind `count` messages.
fn entry(count: u64, capacity: u64) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "below the ring's capacity, which is at most 4096")]
    let index = (count & (capacity - 1)) as usize;
    index * LINE_WORDS
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Memory {
        ring: Vec<AtomicU64>,
        consumed: [AtomicU64; 1],
    }

    impl Memory {
        fn new(capacity: u32) -> Self {
            let ring = (0..capacity as usize * LINE_WORDS).map(|_| AtomicU64::new(0)).collect();
            Self { ring, consumed: [AtomicU64::new(0)] }
        }

        fn ring(&self) -> PeerWords<'_> {
            PeerWords::new(&self.ring)
        }

        fn progress(&self) -> PeerWords<'_> {
            PeerWords::new(&self.consumed)
        }
    }

    #[test]
    fn messages_come_in_order_over_many_laps() {
        let memory = Memory::new(4);
        let (mut producer, mut consumer) = (Producer::new(4), Consumer::new(4));
        let mut sent = 0;
        for round in 0u64..100 {
            while producer.has_room(0, memory.progress()).unwrap() && sent < round * 3 {
                sent += 1;
                producer.publish(&memory.ring, &[sent; BODY_WORDS]);
            }
            while let Some(body) = consumer.take(memory.ring()).unwrap() {
                assert_eq!(body, [consumer.taken(); BODY_WORDS]);
                assert_eq!(consumer.has_next(memory.ring()), consumer.taken() < sent);
            }
            assert!(!consumer.has_next(memory.ring()));
            consumer.announce(&memory.consumed[0]);
        }
        assert_eq!(consumer.taken(), producer.published());
        assert!(sent > 100);
    }

    #[test]
    fn a_full_ring_waits_for_the_announcement() {
        let memory = Memory::new(4);
        let (mut producer, mut consumer) = (Producer::new(4), Consumer::new(4));
        for _ in 0..4 {
            assert!(producer.has_room(0, memory.progress()).unwrap());
            producer.publish(&memory.ring, &[0; BODY_WORDS]);
        }
        assert!(!producer.has_room(0, memory.progress()).unwrap());
        consumer.take(memory.ring()).unwrap().unwrap();
        assert!(!consumer.announcement_due());
        assert!(!producer.has_room(0, memory.progress()).unwrap());
        consumer.take(memory.ring()).unwrap().unwrap();
        assert!(consumer.announcement_due());
        assert!(consumer.announce(&memory.consumed[0]));
        assert!(!consumer.announce(&memory.consumed[0]));
        assert!(producer.has_room(0, memory.progress()).unwrap());
        assert!(producer.has_room(1, memory.progress()).unwrap());
        assert!(!producer.has_room(2, memory.progress()).unwrap());
        consumer.take(memory.ring()).unwrap().unwrap();
        assert!(!consumer.announcement_due(), "one since the last");
    }

    #[test]
    fn any_other_sequence_is_a_fault() {
        let memory = Memory::new(4);
        let (mut producer, mut consumer) = (Producer::new(4), Consumer::new(4));
        for found in [2, 5, u64::MAX, 1 << 63] {
            memory.ring[0].store(found, Ordering::Relaxed);
            assert_eq!(consumer.take(memory.ring()), Err(PeerFault::Sequence { found, due: 1 }));
        }
        memory.ring[0].store(0, Ordering::Relaxed);
        for _ in 0..4 {
            assert!(producer.has_room(0, memory.progress()).unwrap());
            producer.publish(&memory.ring, &[0; BODY_WORDS]);
            consumer.take(memory.ring()).unwrap().unwrap();
        }
        assert_eq!(consumer.take(memory.ring()), Ok(None));
        assert_eq!(consumer.next(), NextEntry { word: 0, empty: 1 });
        for found in [0, 2, 4, 6, 9] {
            memory.ring[0].store(found, Ordering::Relaxed);
            assert_eq!(consumer.take(memory.ring()), Err(PeerFault::Sequence { found, due: 5 }));
        }
    }

    #[test]
    fn progress_that_rewinds_or_runs_ahead_is_a_fault() {
        let memory = Memory::new(2);
        let mut producer = Producer::new(2);
        let mut fill = |expected: Result<bool, PeerFault>, consumed: u64| {
            memory.consumed[0].store(consumed, Ordering::Relaxed);
            while producer.fits(0) {
                producer.publish(&memory.ring, &[0; BODY_WORDS]);
            }
            assert_eq!(producer.has_room(0, memory.progress()), expected);
        };
        fill(Ok(false), 0);
        fill(Err(PeerFault::Consumed { found: 3, least: 0, most: 2 }), 3);
        fill(Err(PeerFault::Consumed { found: u64::MAX, least: 0, most: 2 }), u64::MAX);
        fill(Ok(true), 2);
        fill(Err(PeerFault::Consumed { found: 1, least: 2, most: 4 }), 1);
    }

    #[test]
    fn progress_is_news_once() {
        let memory = Memory::new(4);
        let mut producer = Producer::new(4);
        producer.publish(&memory.ring, &[0; BODY_WORDS]);
        assert_eq!((producer.refresh(memory.progress()), producer.consumed_seen()), (Ok(false), 0));
        memory.consumed[0].store(1, Ordering::Relaxed);
        assert_eq!((producer.refresh(memory.progress()), producer.consumed_seen()), (Ok(true), 1));
        assert_eq!((producer.refresh(memory.progress()), producer.published()), (Ok(false), 1));
    }
}
