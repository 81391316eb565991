//! Large payloads that are read, and built, where they lie.

#![allow(clippy::unwrap_used)]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rapace_core::socket::Socket;
use rapace_session::{
    AsCaller, CallOptions, Code, Config, Handler, Handshake, IncomingCall, Limits, Metadata, NoService, PeerA, PeerB,
    ReadInPlace, Session, Status,
};

fn pair(config: Config, a_handler: impl Handler, b_handler: impl Handler) -> (Session<PeerA>, Session<PeerB>) {
    let (a, b) = Socket::pair().unwrap();
    let b_config = config.clone();
    let plugin = thread::spawn(move || Handshake::<PeerB>::accept(b, b_config).unwrap().finish(b_handler).unwrap());
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(a_handler).unwrap();
    (host, plugin.join().unwrap())
}

fn config(read_in_place: ReadInPlace) -> Config {
    Config { read_in_place, ..Config::new("test", "1") }
}

/// Answers with one byte, whether the body lay in place, and the body behind it, built in place.
fn mirror(mut call: IncomingCall) {
    let body = call.take_body();
    call.reply_in_place(1 + body.len(), |place| {
        place[0] = u8::from(body.is_in_place());
        place[1..].copy_from_slice(&body);
    });
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..=250u8).cycle().take(bytes).collect()
}

/// Calls `mirror` of the peer; says whether the request and the reply lay in place.
fn call<R: rapace_session::Role>(session: &Session<R>, bytes: usize, options: &CallOptions) -> (bool, bool) {
    let body = pattern(bytes);
    let caller = session.as_caller();
    let reply = caller.call_in_place(1, bytes, |place| place.copy_from_slice(&body), options).unwrap();
    assert!(reply.body[1..] == body[..], "{bytes} bytes");
    (reply.body[0] == 1, reply.body.is_in_place())
}

/// Lets the peer's serving thread go, also when the test fails.
struct Closes<'a>(&'a Session<PeerA>);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close(&Status::new(Code::Unavailable, "the test is over"));
    }
}

fn check_clean(host: &Session<PeerA>, plugin: &Session<PeerB>) {
    for session in [host.stats(), plugin.stats()] {
        let left = (session.calls_in_flight, session.served_in_flight, session.inbound_bytes, session.outbound_bytes);
        assert_eq!((left, session.runs_held, session.slots_free), ((0, 0, 0, 0), 0, 509));
    }
}

fn with_pair(read_in_place: ReadInPlace, test: impl FnOnce(&Session<PeerA>, &Session<PeerB>)) {
    let (host, plugin) = pair(config(read_in_place), mirror, mirror);
    thread::scope(|scope| {
        scope.spawn(|| plugin.serve());
        let _closes = Closes(&host);
        test(&host, &plugin);
    });
}

#[test]
fn a_plugin_reads_its_host_in_place_and_a_host_copies_unless_it_trusts() {
    let mut metadata = Metadata::new();
    metadata.insert("k", "v").unwrap();
    let options = [CallOptions::new(), CallOptions::new().deadline(Duration::from_secs(20)).metadata(metadata)];
    for (choice, plugin_does, host_does) in [
        (ReadInPlace::OfTheHost, true, false),
        (ReadInPlace::OfAnyPeer, true, true),
        (ReadInPlace::Never, false, false),
    ] {
        with_pair(choice, |host, plugin| {
            for options in &options {
                for bytes in [4096, 100_000, 1 << 20] {
                    assert_eq!(call(host, bytes, options), (plugin_does, host_does), "{choice:?}, {bytes} bytes");
                }
                // Small ones are copied, and so are those that go in pieces.
                for bytes in [0, 24, 4000, 3 << 20] {
                    assert_eq!(call(host, bytes, options), (false, false), "{choice:?}, {bytes} bytes");
                }
            }
            check_clean(host, plugin);
        });
    }
}

#[test]
fn bodies_that_are_kept_leave_the_peer_most_of_its_slots() {
    let (kept_sender, kept) = mpsc::channel();
    let keep = move |mut call: IncomingCall| {
        kept_sender.send(call.take_body()).unwrap();
        call.reply(b"");
    };
    let (host, plugin) = pair(config(ReadInPlace::OfTheHost), NoService, keep);
    thread::scope(|scope| {
        scope.spawn(|| plugin.serve());
        let closes = Closes(&host);
        for _ in 0..40 {
            host.call(1, &pattern(100_000), &CallOptions::new()).unwrap();
        }
        let bodies: Vec<_> = kept.try_iter().collect();
        let in_place = bodies.iter().filter(|body| body.is_in_place()).count();
        // From slot 63 on, at 25 slots each, but for the last 111 of 509.
        assert_eq!((bodies.len(), in_place), (40, 13));
        assert!(bodies.iter().all(|body| **body == pattern(100_000)));
        drop(bodies);
        check_clean(&host, &plugin);
        // One that outlives the session is still what it was.
        host.call(1, &pattern(5000), &CallOptions::new()).unwrap();
        let body = kept.try_recv().unwrap();
        drop(closes);
        assert!(body.is_in_place() && *body == pattern(5000));
    });
}

#[test]
fn the_buffer_of_a_body_is_used_again() {
    with_pair(ReadInPlace::Never, |host, _| {
        let reply = || host.call(1, &pattern(100_000), &CallOptions::new()).unwrap().body;
        let first = reply();
        let place = first.as_ptr();
        drop(first);
        // Had it been freed, this would be there.
        let beside: Vec<u8> = Vec::with_capacity(100_001);
        let second = reply();
        assert_eq!(second.as_ptr(), place);
        // What a user has taken for good is not.
        let taken = second.into_vec();
        assert_eq!(taken.as_ptr(), place);
        assert_ne!(reply().as_ptr(), place);
        drop((beside, taken));
    });
}

#[test]
fn bodies_in_place_are_under_way_together() {
    with_pair(ReadInPlace::Never, |host, plugin| {
        let (caller, mut metadata) = (host.as_caller(), Metadata::new());
        metadata.insert("k", "v").unwrap();
        let options = CallOptions::new().metadata(metadata);
        // The last finds no slots and is copied.
        let sizes = [0, 100, 100_000, 100_001, 447 * 4096];
        let start = |bytes| caller.start_in_place(1, bytes, |place| place.copy_from_slice(&pattern(bytes)), &options);
        let calls = sizes.map(|bytes| start(bytes).unwrap());
        for (call, bytes) in calls.into_iter().zip(sizes).rev() {
            assert!(call.wait().unwrap().body[1..] == pattern(bytes)[..], "{bytes} bytes");
        }
        drop(start(100_000).unwrap());
        let large = caller.start_in_place(1, 65 << 20, |_| unreachable!(), &options).unwrap_err();
        assert_eq!(large.code(), Code::ResourceExhausted);
        while host.stats().calls_in_flight > 0 {
            // Until what was given up has ended.
            host.call(1, b"", &options).unwrap();
        }
        check_clean(host, plugin);
    });
}

/// Slots that a session has lent out, or that its peer holds.
fn slots_out<R: rapace_session::Role>(session: &Session<R>) -> u32 {
    509 - session.stats().slots_free
}

/// Writes the pieces as a request, and sends it; gives the slots that it lay in.
fn draft(session: &Session<PeerA>, pieces: &[usize], options: &CallOptions) -> u32 {
    let caller = session.as_caller();
    let mut writer = caller.draft(options);
    let body = pattern(pieces.iter().sum());
    let mut rest = &body[..];
    for piece in pieces {
        let (now, later) = rest.split_at(*piece);
        match now {
            [byte] => writer.push(*byte),
            _ => writer.extend(now),
        }
        rest = later;
    }
    let draft = writer.finish();
    assert!(*draft == body);
    let slots = slots_out(session);
    let reply = caller.call_draft(1, draft, options).unwrap();
    assert!(reply.body[..] == body[..], "{pieces:?}");
    slots
}

/// Answers with the body, byte for byte where it is short.
fn written_back(call: IncomingCall) {
    let mut writer = call.draft();
    writer.push(call.body()[0]);
    writer.extend(&call.body()[1..]);
    let draft = writer.finish();
    call.reply_draft(draft);
}

#[test]
fn a_large_piece_is_written_where_it_is_sent_from() {
    let (host, plugin) = pair(config(ReadInPlace::Never), NoService, written_back);
    thread::scope(|scope| {
        scope.spawn(|| plugin.serve());
        let _closes = Closes(&host);
        let mut metadata = Metadata::new();
        metadata.insert("k", "v").unwrap();
        let plain = CallOptions::new();
        let prefixed = CallOptions::new().deadline(Duration::from_secs(20)).metadata(metadata);
        for options in [&plain, &prefixed] {
            // In a buffer, in slots with room for a tail, in a buffer again, and more than there are slots.
            for (pieces, slots) in [
                (&[1usize, 10_000, 10_000][..], 0),
                (&[1, 3, 16384, 1, 1], 5),
                (&[100_000, 100], 25),
                (&[4 * 4096, 100], 5),
                (&[100_000, 10_000, 1, 20_000], 0),
                (&[447 * 4096], 0),
            ] {
                assert_eq!(draft(&host, pieces, options), slots, "{pieces:?}");
            }
        }
        // What may be sent twice is kept.
        assert_eq!(draft(&host, &[100_000], &CallOptions::new().idempotent()), 0);
        check_clean(&host, &plugin);
    });
}

#[test]
fn a_large_reply_is_written_where_it_is_sent_from() {
    let (host, plugin) = pair(config(ReadInPlace::OfAnyPeer), NoService, written_back);
    thread::scope(|scope| {
        scope.spawn(|| plugin.serve());
        let _closes = Closes(&host);
        for (bytes, expected) in [(10_000, false), (100_000, true)] {
            let reply = host.call(1, &pattern(bytes), &CallOptions::new()).unwrap();
            // A reply that is copied takes the lowest slots, which are not read in place.
            assert_eq!((&reply.body[..], reply.body.is_in_place()), (&pattern(bytes)[..], expected));
        }
    });
}

#[test]
fn a_draft_for_other_options_or_another_session_is_copied() {
    let choices = [CallOptions::new(), CallOptions::new().deadline(Duration::from_secs(20))];
    with_pair(ReadInPlace::Never, |host, plugin| {
        with_pair(ReadInPlace::Never, |other, other_plugin| {
            for (session, options) in [(host, &choices[1]), (other, &choices[0])] {
                let caller = host.as_caller();
                let mut writer = caller.draft(&choices[0]);
                writer.extend(&pattern(50_000));
                let draft = writer.finish();
                assert_eq!(slots_out(host), 13);
                let reply = session.as_caller().call_draft(1, draft, options).unwrap();
                assert!(reply.body[1..] == pattern(50_000)[..]);
            }
            check_clean(other, other_plugin);
        });
        let caller = host.as_caller();
        let mut writer = caller.draft(&choices[0]);
        writer.extend(&pattern(50_000));
        drop(writer);
        assert_eq!(slots_out(host), 0);
        check_clean(host, plugin);
    });
}

#[test]
fn a_draft_that_is_copied_keeps_no_slots_from_its_own_call() {
    with_pair(ReadInPlace::Never, |host, plugin| {
        let caller = host.as_caller();
        let (written_for, mut metadata) = (CallOptions::new(), Metadata::new());
        metadata.insert("k", "v").unwrap();
        let options = CallOptions::new().deadline(Duration::from_secs(5)).metadata(metadata);
        let mut writer = caller.draft(&written_for);
        // What is left of the 446 is less than a piece.
        writer.extend(&pattern(400 * 4096));
        let draft = writer.finish();
        assert_eq!(slots_out(host), 401);
        let reply = caller.call_draft(1, draft, &options).unwrap();
        assert!(reply.body[1..] == pattern(400 * 4096)[..]);
        check_clean(host, plugin);
    });
}

#[test]
fn a_body_in_place_that_has_to_wait_gives_its_slots_to_the_call_before_it() {
    let one = Config { limits: Limits { calls_max: 1, ..Limits::default() }, ..config(ReadInPlace::Never) };
    let (host, plugin) = pair(one, NoService, written_back);
    thread::scope(|scope| {
        scope.spawn(|| plugin.serve());
        let _closes = Closes(&host);
        let (caller, options) = (host.as_caller(), CallOptions::new().deadline(Duration::from_secs(5)));
        let large = pattern(400 * 4096);
        for draft in [true, false] {
            let mut before = None;
            // This one goes in pieces, as soon as there are slots for one, and is the only one that the plugin takes.
            let mut begin = || before = Some(host.start(1, &pattern(3 << 20), &options).unwrap());
            let reply = if draft {
                let mut writer = caller.draft(&options);
                writer.extend(&large);
                let draft = writer.finish();
                begin();
                caller.call_draft(1, draft, &options)
            } else {
                let fill = |place: &mut [u8]| {
                    place.copy_from_slice(&large);
                    begin();
                };
                caller.call_in_place(1, large.len(), fill, &options)
            };
            assert!(reply.unwrap().body[..] == large[..]);
            assert!(before.unwrap().wait().unwrap().body[..] == pattern(3 << 20)[..]);
        }
        check_clean(&host, &plugin);
    });
}

#[test]
fn a_loan_that_is_not_sent_is_returned() {
    with_pair(ReadInPlace::OfTheHost, |host, plugin| {
        let caller = host.caller();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            caller.call_in_place(1, 100_000, |_| panic!("on purpose"), &CallOptions::new())
        }));
        assert!(panicked.is_err());
        let large = 65 << 20;
        let refused = caller.call_in_place(1, large, |_| unreachable!(), &CallOptions::new()).unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        check_clean(host, plugin);
    });
}
