//! Items, ends and finals that cross each other on their way. Nothing runs by itself here: both sessions are in this thread.

#![allow(clippy::unwrap_used)]

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_session::{
    CallOptions, Config, Handshake, IncomingCall, Limits, NoService, PeerA, PeerB, Role, Session, StreamingCall,
    Streams, WaitStrategy,
};

const SENDS: Streams = Streams { sends: true, receives: false };
const BOTH: Streams = Streams { sends: true, receives: true };
const ROUNDS: usize = 200;

/// Two sessions, and the calls that have come to the second.
struct Pair {
    host: Session<PeerA>,
    plugin: Session<PeerB>,
    arrived: Arc<Mutex<Vec<IncomingCall>>>,
}

impl Pair {
    fn new(limit: impl Fn(&mut Limits)) -> Self {
        let arrived = Arc::<Mutex<Vec<IncomingCall>>>::default();
        let inbox = Arc::clone(&arrived);
        let (a, b) = Socket::pair().unwrap();
        let config = || {
            let mut config = Config { wait: WaitStrategy::Park, ..Config::new("test", "1") };
            limit(&mut config.limits);
            config
        };
        let (a_config, b_config) = (config(), config());
        let plugin = thread::spawn(move || {
            let keep = move |call: IncomingCall| inbox.lock().unwrap().push(call);
            Handshake::<PeerB>::accept(b, b_config).unwrap().finish(keep).unwrap()
        });
        let host = Handshake::<PeerA>::offer(a, None, a_config).unwrap().finish(NoService).unwrap();
        Self { host, plugin: plugin.join().unwrap(), arrived }
    }

    /// Opens a call, and gives what the plugin has of it.
    fn open(&self, streams: Streams) -> (StreamingCall, IncomingCall) {
        let (caller, options) = (self.host.caller(), CallOptions::new());
        let Poll::Ready(opened) = pin!(caller.open(1, b"", streams, &options)).poll(&mut context()) else {
            panic!("there is room")
        };
        pump(&self.plugin);
        let call = self.arrived.lock().unwrap().pop().unwrap();
        pump(&self.host);
        (opened.unwrap(), call)
    }

    #[track_caller]
    fn check_clean(&self) {
        let mut left = Vec::new();
        for _ in 0..ROUNDS {
            pump(&self.host);
            pump(&self.plugin);
            left = [self.host.stats(), self.plugin.stats()]
                .map(|stats| {
                    let bytes = stats.inbound_bytes + stats.outbound_bytes;
                    [stats.calls_in_flight, stats.served_in_flight, bytes, stats.faults as usize]
                })
                .to_vec();
            if left == [[0; 4]; 2] {
                return;
            }
        }
        panic!("calls, served, bytes, faults: {left:?}");
    }
}

#[track_caller]
fn pump<R: Role>(session: &Session<R>) {
    assert!(session.serve_for(Duration::ZERO).is_none(), "{:?}", session.end());
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[test]
fn an_end_behind_half_an_item_may_cross_a_final_that_waits_for_room() {
    let pair = Pair::new(|limits| limits.stream_window_bytes = 16 << 20);
    let (large, answer_large) = pair.open(Streams::default());
    let (call, incoming) = pair.open(SENDS);
    // A piece or two of the item, and then the plugin answers without having taken it.
    assert!(matches!(call.poll_send(&mut context(), &[1; 3 << 20]), Poll::Ready(Ok(()))));
    call.finish();
    pump(&pair.plugin);
    assert!(pair.host.stats().outbound_bytes > 0, "some of the item waits");
    // The answer finds no slots, because a larger one has taken them.
    answer_large.reply(&[2; 8 << 20]);
    incoming.reply(&[3; 5000]);
    for _ in 0..ROUNDS {
        pump(&pair.host);
        pump(&pair.plugin);
    }
    assert_eq!(large.poll_reply(&mut context()).map(|reply| reply.unwrap().body.len()), Poll::Ready(8 << 20));
    assert_eq!(call.poll_reply(&mut context()).map(|reply| reply.unwrap().body.len()), Poll::Ready(5000));
    drop((large, call));
    pair.check_clean();
}

/// How many items of a cost of 1000 can be sent while nobody takes any.
fn count_sendable(pair: &Pair, mut send: impl FnMut(&mut Context<'_>, &[u8]) -> bool) -> usize {
    let mut count = 0;
    for _ in 0..ROUNDS {
        while send(&mut context(), &[7; 1000 - 64]) {
            count += 1;
        }
        pump(&pair.host);
        pump(&pair.plugin);
    }
    count
}

#[test]
fn a_window_is_whole_again_when_other_streams_are_over() {
    // Half of what may be kept has room for two windows.
    let pair = Pair::new(|limits| {
        *limits = Limits {
            message_bytes_max: 10_000,
            metadata_bytes_max: 0,
            inbound_bytes_max: 40_000,
            stream_window_bytes: 9000,
            ..*limits
        }
    });
    for round in 0..6 {
        let streams: Vec<_> = (0..3).map(|_| pair.open(BOTH)).collect();
        let sendable: Vec<_> = streams
            .iter()
            .map(|(call, incoming)| {
                let up = count_sendable(&pair, |cx, item| call.poll_send(cx, item).is_ready());
                let down = count_sendable(&pair, |cx, item| incoming.poll_send(cx, item).is_ready());
                (up, down)
            })
            .collect();
        assert_eq!(sendable, [(9, 9), (9, 9), (1, 1)], "round {round}");
        for (call, incoming) in streams {
            match round % 3 {
                0 => drop(call),
                1 => incoming.reply(b""),
                _ => call.finish(),
            }
        }
        pair.check_clean();
    }
}

#[test]
fn what_waits_of_an_item_goes_with_its_call() {
    let pair = Pair::new(|limits| limits.stream_window_bytes = 16 << 20);
    let (call, incoming) = pair.open(SENDS);
    assert!(matches!(call.poll_send(&mut context(), &[1; 3 << 20]), Poll::Ready(Ok(()))));
    assert!(pair.host.stats().outbound_bytes > 0, "some of the item waits");
    drop(call);
    assert_eq!(pair.host.stats().outbound_bytes, 0);
    drop(incoming);
    pair.check_clean();
}
