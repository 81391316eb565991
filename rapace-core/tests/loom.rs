//! Every interleaving of the ring, the return ring and the sleep word, at small capacity.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p rapace-core --release --test loom`

#![cfg(loom)]
#![allow(missing_docs)]
// For `impl Sync for Cell`.
#![allow(unsafe_code)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use rapace_core::descriptor::BODY_WORDS;
use rapace_core::layout::LINE_WORDS;
use rapace_core::returns::{AllegedReturn, ReturnReader, ReturnWriter};
use rapace_core::ring::{Consumer, Producer};
use rapace_core::sleep::{Bell, Due, Interest, News, Sleeper};
use rapace_core::slots::{Class, SlotPool};
use rapace_core::sync::{AtomicU64, Ordering};
use rapace_core::words::PeerWords;

fn words(count: usize) -> Vec<AtomicU64> {
    (0..count).map(|_| AtomicU64::new(0)).collect()
}

/// Plain memory that a ring hands from one side to the other and back: loom fails when an access on one side is not
/// ordered with those on the other. It stands for the bytes of a slot, and for a consumer's reads of an entry.
struct Cell(UnsafeCell<u64>);

// SAFETY: loom checks every access and panics on two that race; nothing is dereferenced outside `read` and `write`.
unsafe impl Sync for Cell {}

impl Cell {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn write(&self, value: u64) {
        // SAFETY: loom panics before this when another access is not ordered with it.
        self.0.with_mut(|cell| unsafe { *cell = value });
    }

    fn read(&self) -> u64 {
        // SAFETY: as in `write`.
        self.0.with(|cell| unsafe { *cell })
    }
}

/// Both halves' shared words of one direction.
struct Memory {
    ring: Vec<AtomicU64>,
    consumed: Vec<AtomicU64>,
    returns: Vec<AtomicU64>,
    cells: Vec<Cell>,
    sleep: Vec<AtomicU64>,
    /// Stands for the socket: bells that have been rung.
    bells: AtomicU64,
}

impl Memory {
    fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self {
            ring: words(capacity * LINE_WORDS),
            consumed: words(1),
            returns: words(capacity),
            cells: (0..capacity).map(|_| Cell::new()).collect(),
            sleep: words(1),
            bells: AtomicU64::new(0),
        })
    }
}

/// The words of a message are all of one message, whatever lap its entry is in.
#[test]
fn a_message_arrives_whole_and_in_order() {
    const CAPACITY: u32 = 2;
    const MESSAGES: u64 = 3;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let memory = Memory::new(CAPACITY as usize);
        let sender = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let mut producer = Producer::new(CAPACITY);
                while producer.published() < MESSAGES {
                    if producer.has_room(0, PeerWords::new(&memory.consumed)).unwrap() {
                        let message = producer.published() + 1;
                        memory.cells[(message as usize - 1) % CAPACITY as usize].write(message);
                        producer.publish(&memory.ring, &[message; BODY_WORDS]);
                    } else {
                        thread::yield_now();
                    }
                }
            })
        };
        let mut consumer = Consumer::new(CAPACITY);
        while consumer.taken() < MESSAGES {
            match consumer.take(PeerWords::new(&memory.ring)).unwrap() {
                Some(body) => {
                    let message = consumer.taken();
                    assert_eq!(body, [message; BODY_WORDS]);
                    assert_eq!(memory.cells[(message as usize - 1) % CAPACITY as usize].read(), message);
                    consumer.announce(&memory.consumed[0]);
                }
                None => thread::yield_now(),
            }
        }
        sender.join().unwrap();
    });
}

/// The owner writes to a slot again only after the receiver has read it.
#[test]
fn a_returned_slot_has_been_read() {
    const CAPACITY: u32 = 2;
    loom::model(|| {
        let memory = Memory::new(CAPACITY as usize);
        let receiver = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let (mut consumer, mut writer) = (Consumer::new(CAPACITY), ReturnWriter::new(CAPACITY));
                while consumer.taken() < 2 {
                    if let Some(body) = consumer.take(PeerWords::new(&memory.ring)).unwrap() {
                        assert_eq!(memory.cells[0].read(), body[0], "the slot of another message");
                        let generation = u32::try_from(body[0]).unwrap();
                        writer.give_back(&memory.returns, 5, generation);
                    } else {
                        thread::yield_now();
                    }
                }
            })
        };
        let (mut producer, mut reader) = (Producer::new(CAPACITY), ReturnReader::new(CAPACITY));
        for message in 1..=2 {
            memory.cells[0].write(message);
            producer.publish(&memory.ring, &[message; BODY_WORDS]);
            let returned = loop {
                match reader.take(PeerWords::new(&memory.returns)).unwrap() {
                    Some(returned) => break returned,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(returned, AllegedReturn { slot: 5, generation: u32::try_from(message).unwrap() });
        }
        receiver.join().unwrap();
    });
}

/// A sleeper that saw nothing is rung: no schedule leaves a message in the ring and its receiver asleep.
#[test]
fn no_wake_up_is_lost() {
    loom::model(|| {
        let memory = Memory::new(2);
        let sender = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let (mut producer, mut bell) = (Producer::new(2), Bell::default());
                for _ in 0..2 {
                    producer.publish(&memory.ring, &[7; BODY_WORDS]);
                    if bell.due(PeerWords::new(&memory.sleep), News { frames: true, room: false }) {
                        memory.bells.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let (mut consumer, mut sleeper) = (Consumer::new(2), Sleeper::default());
        let take = |consumer: &mut Consumer| consumer.take(PeerWords::new(&memory.ring)).unwrap().is_some();
        sleeper.arm(&memory.sleep[0], Interest::Frames);
        let looked = take(&mut consumer);
        sender.join().unwrap();
        let bells = memory.bells.load(Ordering::Relaxed);
        assert!(bells <= sleeper.sleeps(), "rung more often than it slept");
        assert!(looked || bells == 1, "asleep with a message in the ring");
        sleeper.disarm(&memory.sleep[0]);
    });
}

/// A sleeper that has taken all messages is not rung for them: no schedule makes that of one that has not.
#[test]
fn who_took_a_message_before_it_slept_misses_no_other() {
    loom::model(|| {
        let memory = Memory::new(2);
        let sender = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let (mut producer, mut bell) = (Producer::new(2), Bell::default());
                for _ in 0..2 {
                    producer.publish(&memory.ring, &[7; BODY_WORDS]);
                    let consumed = PeerWords::new(&memory.consumed);
                    let taken = || consumed.load(0) == producer.published();
                    if bell.due_unless(PeerWords::new(&memory.sleep), News { frames: true, room: false }, taken)
                        == Due::Now
                    {
                        memory.bells.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        let (mut consumer, mut sleeper) = (Consumer::new(2), Sleeper::default());
        let take = |consumer: &mut Consumer| consumer.take(PeerWords::new(&memory.ring)).unwrap().is_some();
        take(&mut consumer);
        consumer.announce(&memory.consumed[0]);
        sleeper.arm(&memory.sleep[0], Interest::Frames);
        let looked = take(&mut consumer);
        sender.join().unwrap();
        let bells = memory.bells.load(Ordering::Relaxed);
        assert!(bells <= sleeper.sleeps(), "rung more often than it slept");
        assert!(looked || bells == 1 || !take(&mut consumer), "asleep with a message in the ring");
    });
}

/// The same for room: a producer that found the ring full is rung when an entry comes back.
#[test]
fn no_news_of_room_is_lost() {
    loom::model(|| {
        let memory = Memory::new(2);
        let mut producer = Producer::new(2);
        producer.publish(&memory.ring, &[7; BODY_WORDS]);
        producer.publish(&memory.ring, &[7; BODY_WORDS]);
        let receiver = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let (mut consumer, mut bell) = (Consumer::new(2), Bell::default());
                for _ in 0..2 {
                    consumer.take(PeerWords::new(&memory.ring)).unwrap().unwrap();
                }
                consumer.announce(&memory.consumed[0]);
                if bell.due(PeerWords::new(&memory.sleep), News { frames: false, room: true }) {
                    memory.bells.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let mut sleeper = Sleeper::default();
        let mut room = producer.has_room(0, PeerWords::new(&memory.consumed)).unwrap();
        if !room {
            sleeper.arm(&memory.sleep[0], Interest::FramesAndRoom);
            room = producer.has_room(0, PeerWords::new(&memory.consumed)).unwrap();
        }
        receiver.join().unwrap();
        let bells = memory.bells.load(Ordering::Relaxed);
        assert!(room || bells == 1, "asleep with room in the ring");
    });
}

/// One that sleeps for frames alone, and waits for room from then on, as another thread of its process wants to send: no
/// schedule leaves room in the ring and it asleep.
#[test]
fn a_sleep_that_is_widened_hears_of_room() {
    loom::model(|| {
        let memory = Memory::new(2);
        let mut producer = Producer::new(2);
        producer.publish(&memory.ring, &[7; BODY_WORDS]);
        producer.publish(&memory.ring, &[7; BODY_WORDS]);
        let mut sleeper = Sleeper::default();
        sleeper.arm(&memory.sleep[0], Interest::Frames);
        let receiver = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let (mut consumer, mut bell) = (Consumer::new(2), Bell::default());
                for _ in 0..2 {
                    consumer.take(PeerWords::new(&memory.ring)).unwrap().unwrap();
                    consumer.announce(&memory.consumed[0]);
                    if bell.due(PeerWords::new(&memory.sleep), News { frames: false, room: true }) {
                        memory.bells.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        };
        sleeper.arm(&memory.sleep[0], Interest::FramesAndRoom);
        let room = producer.has_room(0, PeerWords::new(&memory.consumed)).unwrap();
        receiver.join().unwrap();
        let bells = memory.bells.load(Ordering::Relaxed);
        assert!(bells <= sleeper.sleeps(), "rung more often than it slept");
        assert!(room || bells == 1, "asleep with room in the ring");
    });
}

/// A consumer that has not announced what it took does so before it sleeps, and rings: it never sleeps beside a producer that
/// sleeps over a full ring.
#[test]
fn who_announces_late_does_not_sleep_beside_who_waits_for_room() {
    loom::model(|| {
        let memory = Memory::new(2);
        // The producer's sleep word and bells are those of the memory; here are the consumer's.
        let consumer_sleep = Arc::new(words(1));
        let mut producer = Producer::new(2);
        producer.publish(&memory.ring, &[7; BODY_WORDS]);
        let receiver = {
            let (memory, sleep) = (Arc::clone(&memory), Arc::clone(&consumer_sleep));
            thread::spawn(move || {
                let (mut consumer, mut bell, mut sleeper) = (Consumer::new(2), Bell::default(), Sleeper::default());
                let mut take = || consumer.take(PeerWords::new(&memory.ring)).unwrap().is_some();
                let taken = [take(), take()].into_iter().filter(|taken| *taken).count();
                // As `Link::arm` does it.
                if consumer.announce(&memory.consumed[0])
                    && bell.due(PeerWords::new(&memory.sleep), News { frames: false, room: true })
                {
                    memory.bells.fetch_add(1, Ordering::Relaxed);
                }
                sleeper.arm(&sleep[0], Interest::Frames);
                let more = consumer.take(PeerWords::new(&memory.ring)).unwrap().is_some();
                (taken, more)
            })
        };
        producer.publish(&memory.ring, &[7; BODY_WORDS]);
        let mut bell = Bell::default();
        let rung = bell.due(PeerWords::new(&consumer_sleep), News { frames: true, room: false });
        let mut sleeper = Sleeper::default();
        sleeper.arm(&memory.sleep[0], Interest::FramesAndRoom);
        let room = producer.has_room(0, PeerWords::new(&memory.consumed)).unwrap();
        let (taken, more) = receiver.join().unwrap();
        let consumer_sleeps = !more && !rung;
        let producer_sleeps = !room && memory.bells.load(Ordering::Relaxed) == 0;
        assert!(taken == 2 || !consumer_sleeps, "the consumer sleeps over a message");
        assert!(!(consumer_sleeps && producer_sleeps), "both sleep, and one waits for room");
    });
}

/// The pool gives a slot out again, and its owner writes to it, only when the receiver has read it.
#[test]
fn a_slot_is_allocated_again_only_when_it_has_been_read() {
    // More entries than messages, so that nothing but the return says that a slot was read.
    const CAPACITY: u32 = 4;
    const SLOTS: u32 = 2;
    const MESSAGES: u64 = 3;
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let memory = Memory::new(CAPACITY as usize);
        let receiver = {
            let memory = Arc::clone(&memory);
            thread::spawn(move || {
                let (mut consumer, mut writer) = (Consumer::new(CAPACITY), ReturnWriter::new(CAPACITY));
                while consumer.taken() < MESSAGES {
                    if let Some([message, slot, generation, ..]) = consumer.take(PeerWords::new(&memory.ring)).unwrap()
                    {
                        let (slot, generation) = (u32::try_from(slot).unwrap(), u32::try_from(generation).unwrap());
                        assert_eq!(memory.cells[slot as usize].read(), message, "the bytes of another message");
                        writer.give_back(&memory.returns, slot, generation);
                    } else {
                        thread::yield_now();
                    }
                }
            })
        };
        let (mut producer, mut reader) = (Producer::new(CAPACITY), ReturnReader::new(CAPACITY));
        let mut pool = SlotPool::new(SLOTS);
        while producer.published() < MESSAGES {
            // As `Link::take_slots` does it.
            let run = pool.allocate(1, Class::Reply).or_else(|| {
                while let Some(returned) = reader.take(PeerWords::new(&memory.returns)).unwrap() {
                    pool.take_back(returned.slot, returned.generation).unwrap();
                }
                pool.allocate(1, Class::Reply)
            });
            let Some(run) = run else {
                thread::yield_now();
                continue;
            };
            assert!(producer.has_room(0, PeerWords::new(&memory.consumed)).unwrap());
            let message = producer.published() + 1;
            let mut body = [0; BODY_WORDS];
            body[..3].copy_from_slice(&[message, run.slot.into(), run.generation.into()]);
            memory.cells[run.slot as usize].write(message);
            pool.hand_over(run, 1);
            producer.publish(&memory.ring, &body);
        }
        receiver.join().unwrap();
    });
}
