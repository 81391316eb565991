//! Whatever two ends do with their streams, items come whole and in order, no receiver keeps more than it has granted,
//! nobody who has drained everything is stuck, and at the end all is where it was.
//!
//! Nothing runs by itself here: both sessions are in this thread, and every step is an operation of the test.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use rapace_core::socket::Socket;
use rapace_core::{Geometry, GeometryConfig};
use rapace_session::{
    CallOptions, Code, Config, Handshake, IncomingCall, Items, NoService, PeerA, PeerB, Role, Session, Status,
    StreamingCall, Streams, WaitStrategy,
};

const ITEM_COST: u64 = 64;
/// Enough for what is under way to arrive, and for what follows from it.
const ROUNDS: usize = 400;
const STREAMS_MAX: usize = 6;
/// A short queue of items keeps its memory.
const QUEUE_BYTES: u64 = 2000;
/// The largest reply.
const REPLY_BYTES: u64 = 2 * 40_000;

/// What happens next. The number chooses a stream among those that are there.
#[derive(Clone, Copy, Debug)]
enum Op {
    Open(Streams),
    CallerSends(usize, usize),
    CallerFinishes(usize),
    CallerTakes(usize),
    CallerTakesReply(usize),
    CallerDrops(usize),
    CalleeSends(usize, usize),
    CalleeTakes(usize),
    CalleeReplies(usize, usize),
    CalleeFails(usize),
    CalleeDrops(usize),
    PumpHost,
    PumpPlugin,
}

/// From nothing over what fits a descriptor and a slot to what goes in pieces.
fn bytes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), Just(24), Just(25), Just(256), Just(700), Just(3000), Just(4000), Just(40_000)]
}

fn op() -> impl Strategy<Value = Op> {
    let stream = || 0..STREAMS_MAX;
    let streams = (any::<bool>(), any::<bool>()).prop_map(|(sends, receives)| Streams { sends, receives });
    prop_oneof![
        2 => streams.prop_map(Op::Open),
        8 => (stream(), bytes()).prop_map(|(stream, bytes)| Op::CallerSends(stream, bytes)),
        1 => stream().prop_map(Op::CallerFinishes),
        6 => stream().prop_map(Op::CallerTakes),
        1 => stream().prop_map(Op::CallerTakesReply),
        1 => stream().prop_map(Op::CallerDrops),
        8 => (stream(), bytes()).prop_map(|(stream, bytes)| Op::CalleeSends(stream, bytes)),
        6 => stream().prop_map(Op::CalleeTakes),
        1 => (stream(), bytes()).prop_map(|(stream, bytes)| Op::CalleeReplies(stream, bytes)),
        1 => stream().prop_map(Op::CalleeFails),
        1 => stream().prop_map(Op::CalleeDrops),
        5 => Just(Op::PumpHost),
        5 => Just(Op::PumpPlugin),
    ]
}

fn config(geometry: GeometryConfig, window: u32) -> Config {
    let mut config = Config { geometry, wait: WaitStrategy::Park, ..Config::new("test", "1") };
    config.limits.stream_window_bytes = window;
    config
}

fn geometries() -> impl Strategy<Value = GeometryConfig> {
    let small = |ring_capacity| GeometryConfig { segment_bytes: 32 << 10, ring_capacity, slot_bytes: 256 };
    // Many slots, 16 slots beside 64 descriptors, and 16 descriptors beside 32 slots.
    prop_oneof![Just(GeometryConfig::default()), Just(small(64)), Just(small(16))]
}

/// Items of one direction of a stream, as they should come.
#[derive(Debug, Default)]
struct Way {
    under_way: VecDeque<Vec<u8>>,
    sent: u64,
    taken: u64,
    largest: u64,
    items: u8,
}

impl Way {
    fn next(&self, bytes: usize) -> Vec<u8> {
        vec![self.items; bytes]
    }

    /// An item went out, for which there must have been credit.
    fn sent(&mut self, item: Vec<u8>, window: u32) {
        assert!(self.sent - self.taken < window.into(), "{} bytes were under way", self.sent - self.taken);
        self.items = self.items.wrapping_add(1);
        self.sent += item.len() as u64 + ITEM_COST;
        self.largest = self.largest.max(item.len() as u64 + ITEM_COST);
        self.under_way.push_back(item);
    }

    /// What may be kept of it: what was granted and one item more, by allocations that grow by doubling.
    fn bound(&self, window: u32) -> u64 {
        2 * (u64::from(window) + self.largest) + QUEUE_BYTES
    }

    fn taken(&mut self, item: &[u8]) {
        let expected = self.under_way.pop_front();
        assert!(expected.as_deref() == Some(item), "{} bytes, not {:?}", item.len(), expected.map(|item| item.len()));
        self.taken += item.len() as u64 + ITEM_COST;
    }
}

#[derive(Debug, Default)]
struct Stream {
    number: u64,
    streams: Streams,
    ours: Option<StreamingCall>,
    theirs: Option<IncomingCall>,
    items: Option<Items>,
    up: Way,
    down: Way,
    finished: bool,
    answered: bool,
    cancelled: bool,
}

struct World {
    host: Session<PeerA>,
    plugin: Session<PeerB>,
    arrived: Arc<Mutex<Vec<IncomingCall>>>,
    streams: Vec<Stream>,
    opened: u64,
    window: u32,
    slots: u32,
    /// What may be kept of calls that have been answered, but whose answer waits for room.
    ending: u64,
}

impl World {
    fn new(geometry: GeometryConfig, window: u32) -> Self {
        let arrived = Arc::<Mutex<Vec<IncomingCall>>>::default();
        let inbox = Arc::clone(&arrived);
        let (a, b) = Socket::pair().unwrap();
        let (a_config, b_config) = (config(geometry, window), config(geometry, window));
        let plugin = thread::spawn(move || {
            let keep = move |call: IncomingCall| inbox.lock().unwrap().push(call);
            Handshake::<PeerB>::accept(b, b_config).unwrap().finish(keep).unwrap()
        });
        let host = Handshake::<PeerA>::offer(a, None, a_config).unwrap().finish(NoService).unwrap();
        let slots = Geometry::new(geometry).unwrap().slot_count();
        Self { host, plugin: plugin.join().unwrap(), arrived, streams: Vec::new(), opened: 0, window, slots, ending: 0 }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Open(streams) => self.open(streams),
            Op::PumpHost => pump(&self.host),
            Op::PumpPlugin => self.pump_plugin(),
            Op::CallerSends(stream, bytes) => self.with(stream, |stream, window| stream.caller_sends(bytes, window)),
            Op::CallerFinishes(stream) => self.with(stream, |stream, _| stream.caller_finishes()),
            Op::CallerTakes(stream) => self.with(stream, |stream, _| _ = stream.caller_takes()),
            Op::CallerTakesReply(stream) => self.with(stream, |stream, _| stream.caller_takes_reply()),
            Op::CallerDrops(stream) => self.with(stream, |stream, _| stream.caller_drops()),
            Op::CalleeSends(stream, bytes) => self.with(stream, |stream, window| stream.callee_sends(bytes, window)),
            Op::CalleeTakes(stream) => self.with(stream, |stream, _| _ = stream.callee_takes()),
            Op::CalleeReplies(stream, bytes) => self.with(stream, |stream, _| {
                stream.answer(|call| call.reply(&vec![7; bytes]));
            }),
            Op::CalleeFails(stream) => self.with(stream, |stream, _| {
                stream.answer(|call| call.fail(Status::new(Code::Aborted, "as the test wants it")));
            }),
            Op::CalleeDrops(stream) => self.with(stream, |stream, _| stream.answer(drop)),
        }
        let window = self.window;
        let gone = self.streams.extract_if(.., |stream| stream.ours.is_none() && stream.theirs.is_none());
        self.ending += gone.map(|stream| stream.up.bound(window)).sum::<u64>();
        self.check_kept();
    }

    fn with(&mut self, stream: usize, act: impl FnOnce(&mut Stream, u32)) {
        let count = self.streams.len();
        if count > 0 {
            act(&mut self.streams[stream % count], self.window);
        }
    }

    fn open(&mut self, streams: Streams) {
        if self.streams.len() == STREAMS_MAX {
            return;
        }
        let number = self.opened.to_le_bytes();
        let (caller, options) = (self.host.caller(), CallOptions::new());
        if let Poll::Ready(opened) = poll(pin!(caller.open(1, &number, streams, &options))) {
            let stream = Stream { number: self.opened, streams, ours: Some(opened.unwrap()), ..Stream::default() };
            self.streams.push(stream);
        }
        self.opened += 1;
    }

    fn pump_plugin(&mut self) {
        pump(&self.plugin);
        for call in std::mem::take(&mut *self.arrived.lock().unwrap()) {
            let number = u64::from_le_bytes(call.body().try_into().unwrap());
            // One that was dropped before it arrived may be run, and is answered at once.
            let Some(stream) = self.streams.iter_mut().find(|stream| stream.number == number) else { continue };
            assert_eq!(call.streams(), stream.streams);
            stream.items = Some(call.items());
            stream.theirs = Some(call);
        }
    }

    fn check_kept(&mut self) {
        let check = |kept: usize, bound: u64| assert!(kept as u64 <= bound, "{kept} bytes are kept, not {bound}");
        let (host, plugin) = (self.host.stats(), self.plugin.stats());
        if plugin.served_in_flight == self.streams.iter().filter(|stream| stream.theirs.is_some()).count() {
            self.ending = 0;
        }
        let down: u64 = self.streams.iter().map(|stream| stream.down.bound(self.window) + REPLY_BYTES).sum();
        check(host.inbound_bytes, down);
        let up: u64 = self.streams.iter().map(|stream| stream.up.bound(self.window)).sum();
        check(plugin.inbound_bytes, up + self.ending);
    }

    /// Whoever is read can send.
    fn check_progress(&mut self) {
        for _ in 0..ROUNDS {
            pump(&self.host);
            self.pump_plugin();
            for stream in &mut self.streams {
                while stream.caller_takes() {}
                while stream.callee_takes() {}
            }
        }
        let window = self.window;
        for stream in &mut self.streams {
            let (up, down) = (stream.up.sent, stream.down.sent);
            assert!(stream.up.under_way.is_empty() || !stream.is_open(), "{stream:?}");
            assert!(stream.down.under_way.is_empty() || !stream.is_open(), "{stream:?}");
            stream.caller_sends(8, window);
            stream.callee_sends(8, window);
            if stream.is_open() {
                assert!(!stream.streams.sends || stream.finished || stream.up.sent > up, "stuck upwards: {stream:?}");
                assert!(!stream.streams.receives || stream.down.sent > down, "stuck downwards: {stream:?}");
            }
            pump(&self.host);
            pump(&self.plugin);
        }
    }

    /// With all calls given up, nothing is left.
    fn check_clean(&mut self) {
        self.streams.clear();
        let mut left = Vec::new();
        for _ in 0..ROUNDS {
            pump(&self.host);
            pump(&self.plugin);
            self.arrived.lock().unwrap().clear();
            left = [self.host.stats(), self.plugin.stats()]
                .map(|stats| {
                    let slots = (self.slots - stats.slots_free + stats.runs_held) as usize;
                    let bytes = stats.inbound_bytes + stats.outbound_bytes;
                    [stats.calls_in_flight, stats.served_in_flight, bytes, stats.tasks, slots, stats.faults as usize]
                })
                .to_vec();
            if left == [[0; 6]; 2] {
                return;
            }
        }
        panic!("calls, served, bytes, tasks, slots, faults: {left:?}");
    }
}

fn pump<R: Role>(session: &Session<R>) {
    assert!(session.serve_for(Duration::ZERO).is_none(), "{:?}", session.end());
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut context())
}

impl Stream {
    fn has_arrived(&self) -> bool {
        self.items.is_some()
    }

    /// Whether neither side has ended it.
    fn is_open(&self) -> bool {
        self.has_arrived() && self.theirs.is_some() && self.ours.is_some()
    }

    fn caller_sends(&mut self, bytes: usize, window: u32) {
        let Some(call) = self.ours.as_ref().filter(|_| self.streams.sends) else { return };
        let item = self.up.next(bytes);
        match call.poll_send(&mut context(), &item) {
            Poll::Ready(Ok(())) => {
                assert!(!self.finished);
                self.up.sent(item, window);
            }
            Poll::Ready(Err(error)) => assert!(self.finished || self.answered, "{error}"),
            Poll::Pending => {}
        }
    }

    fn caller_finishes(&mut self) {
        if let Some(call) = &self.ours {
            call.finish();
            self.finished = true;
        }
    }

    /// Says whether there was an item.
    fn caller_takes(&mut self) -> bool {
        let Some(call) = &self.ours else { return false };
        match call.poll_item(&mut context()) {
            Poll::Ready(Some(item)) => self.down.taken(&item),
            Poll::Ready(None) => {
                assert!(self.answered || !self.streams.receives);
                assert!(self.down.under_way.is_empty(), "{} items are lost", self.down.under_way.len());
                return false;
            }
            Poll::Pending => return false,
        }
        true
    }

    fn caller_takes_reply(&mut self) {
        let Some(call) = &self.ours else { return };
        if call.poll_reply(&mut context()).is_ready() {
            assert!(self.answered);
            self.ours = None;
        }
    }

    fn caller_drops(&mut self) {
        self.ours = None;
        self.cancelled = true;
    }

    fn callee_sends(&mut self, bytes: usize, window: u32) {
        let Some(call) = self.theirs.as_ref().filter(|_| self.streams.receives) else { return };
        let item = self.down.next(bytes);
        match call.poll_send(&mut context(), &item) {
            Poll::Ready(Ok(())) => self.down.sent(item, window),
            Poll::Ready(Err(error)) => assert!(self.cancelled, "{error}"),
            Poll::Pending => {}
        }
    }

    /// Says whether there was an item.
    fn callee_takes(&mut self) -> bool {
        let Some(items) = self.items.as_mut().filter(|_| self.streams.sends) else { return false };
        match items.poll_next(&mut context()) {
            Poll::Ready(Some(Ok(item))) => self.up.taken(&item),
            Poll::Ready(Some(Err(error))) => {
                assert!(self.cancelled || self.answered, "{error}");
                return false;
            }
            Poll::Ready(None) => {
                assert!(self.cancelled || self.answered || self.finished && self.up.under_way.is_empty());
                return false;
            }
            Poll::Pending => return false,
        }
        true
    }

    fn answer(&mut self, end: impl FnOnce(IncomingCall)) {
        if let Some(call) = self.theirs.take() {
            end(call);
            self.answered = true;
        }
    }
}

/// For the values of a failed case.
fn check(geometry: GeometryConfig, window: u32, ops: impl IntoIterator<Item = Op> + Debug) {
    let mut world = World::new(geometry, window);
    for op in ops {
        world.run(op);
    }
    world.check_progress();
    world.check_clean();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_keep_their_bounds_and_their_order(
        geometry in geometries(),
        window in prop_oneof![Just(1u32), Just(500), Just(5000), Just(100_000)],
        ops in proptest::collection::vec(op(), 1..300),
    ) {
        check(geometry, window, ops);
    }
}
