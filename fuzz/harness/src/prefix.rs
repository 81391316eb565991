//! Target `prefix`: what stands before a body, and the trace context in it (SPEC C8 to C10).

mod traceparent;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rapace_core::Side;
use rapace_session::{
    CallError, CallOptions, Code, Config, IncomingCall, Limits, Metadata, Reply, Status, Timeouts, WaitStrategy,
};

use crate::fields::{DEADLINE, ERROR, Fields, METADATA, MORE, REPLY, REQUEST, number, parity};
use crate::greeted::greeted;
use crate::peer::{Peer, Taken};

const MESSAGE_BYTES_MAX: usize = 16 << 10;
const METADATA_BYTES_MAX: usize = 200;
/// The longest piece: there is room for it in the slots.
const PIECE_BYTES: usize = 4096;
/// A deadline that is not over before the handler has begun, on any machine.
const LONG: u64 = 3_600_000_000_000;
/// Nobody waits for longer: what is beyond it may be cut.
const ENOUGH: Duration = Duration::from_secs(86_400 * 365);

/// What a prefix says, and the body behind it.
#[derive(Debug, PartialEq)]
struct Read {
    nanoseconds: Option<u64>,
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

/// What the handler was given.
#[derive(Debug)]
struct Handled {
    deadline: Option<Instant>,
    metadata: Metadata,
    body: Vec<u8>,
}

/// Sends the bytes as the whole of a request, of a reply and of an error, with the flags that the first byte names.
///
/// Each is read as SPEC says, by a reference that shares no code with what is tested: time, pairs and body arrive as they are
/// in the bytes, or the call ends with the code of what is wrong. A trace context is taken where it is one, and comes back.
pub fn prefix(data: &[u8]) {
    let Some((flags, message)) = data.split_first() else { return };
    let message = &message[..message.len().min(MESSAGE_BYTES_MAX - 1)];
    let flags = [DEADLINE, METADATA].into_iter().zip([1, 2]).filter(|(_, bit)| flags & bit != 0);
    let flags = flags.map(|(flag, _)| flag).sum();
    traceparent::check(message);
    let handled = Arc::new(Mutex::new(None));
    let noted = Arc::clone(&handled);
    let handler = move |mut call: IncomingCall| {
        let (deadline, metadata) = (call.deadline(), call.metadata().clone());
        let body = call.take_body().to_vec();
        *noted.lock().expect("no panic holds this lock") = Some(Handled { deadline, metadata, body });
        call.reply(b"handled");
    };
    let limits =
        Limits { message_bytes_max: MESSAGE_BYTES_MAX, metadata_bytes_max: METADATA_BYTES_MAX, ..Limits::default() };
    let timeouts = Timeouts { liveness: Duration::from_micros(1), ..Timeouts::default() };
    let config = Config {
        geometry: crate::geometry(2).config(),
        limits,
        timeouts,
        wait: WaitStrategy::Park,
        ..Config::new("fuzz", "1")
    };
    let (session, mut peer) = greeted(config, handler);
    let asked = Instant::now();
    send(&mut peer, Fields::header(REQUEST | flags | 1 << 24, 1 << 13 | parity(Side::B), 7), message);
    assert_eq!(session.serve_for(Duration::ZERO), None, "an honest peer ends the session");
    let Taken { fields, body } = peer.take().expect("every call is answered");
    let handled = handled.lock().expect("no panic holds this lock").take();
    let answered = (fields.kind() == ERROR).then(|| Status::decode(&body).code);
    judge_request(&read(flags, message), handled, answered, asked);
    // Replies and errors carry no time.
    let flags = flags & METADATA;
    for kind in [REPLY, ERROR] {
        let options = CallOptions::new().deadline(Duration::from_secs(3600));
        let call = session.try_start(1, b"", &options).expect("there is room");
        let Taken { fields, .. } = peer.take().expect("the request was sent");
        send(&mut peer, Fields::header(kind | flags, fields.channel, fields.method), message);
        assert_eq!(session.serve_for(Duration::ZERO), None, "an honest peer ends the session");
        judge_final(kind, read(flags, message), call.try_wait().expect("the call has been answered"));
    }
    let stats = session.stats();
    let left = (stats.calls_in_flight, stats.served_in_flight, stats.inbound_bytes, stats.outbound_bytes);
    assert_eq!(left, (0, 0, 0, 0), "{stats:?}");
}

fn send(peer: &mut Peer, header: Fields, message: &[u8]) {
    let mut pieces = message.chunks(PIECE_BYTES).peekable();
    if message.is_empty() {
        assert!(peer.send(header, b""), "there is room");
    }
    while let Some(piece) = pieces.next() {
        let more = if pieces.peek().is_some() { MORE } else { 0 };
        assert!(peer.send(Fields { flags: header.flags | more, ..header }, piece), "there is room");
    }
}

fn judge_request(expected: &Result<Read, Code>, handled: Option<Handled>, answered: Option<Code>, asked: Instant) {
    match (expected, handled) {
        (Ok(read), None) => {
            assert!(read.nanoseconds.is_some_and(|left| left < LONG), "the handler is not told of {read:?}");
            assert_eq!(answered, Some(Code::DeadlineExceeded));
        }
        (Ok(read), Some(Handled { deadline, metadata, body })) => {
            assert_eq!(answered, None);
            assert_eq!(deadline.is_some(), read.nanoseconds.is_some());
            for (deadline, left) in deadline.into_iter().zip(read.nanoseconds) {
                let left = Duration::from_nanos(left);
                let (most, least) =
                    (deadline.saturating_duration_since(asked), deadline.saturating_duration_since(Instant::now()));
                assert!(most >= left.min(ENOUGH) && least <= left, "{left:?} became {least:?} to {most:?}");
            }
            judge(read, &metadata, &body);
        }
        (Err(code), None) => assert_eq!(answered, Some(*code)),
        (Err(code), Some(handled)) => panic!("{code:?} was expected, but {handled:?} is handled"),
    }
}

fn judge_final(kind: u32, expected: Result<Read, Code>, outcome: Result<Reply, CallError>) {
    match (expected, outcome) {
        (Ok(read), Ok(reply)) => {
            assert_eq!(kind, REPLY);
            judge(&read, &reply.metadata, &reply.body);
        }
        (Ok(read), Err(CallError::Status(status))) => {
            assert_eq!((kind, status), (ERROR, Status::decode(&read.body)));
        }
        (Err(code), Err(CallError::Status(status))) => assert_eq!(status.code, code, "{status}"),
        (expected, outcome) => panic!("{expected:?} was expected, but the outcome is {outcome:?}"),
    }
}

fn judge(read: &Read, metadata: &Metadata, body: &[u8]) {
    assert!(body == read.body, "another body");
    let found: Vec<_> = metadata.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.to_vec())).collect();
    assert_eq!(found, read.pairs);
    let mut again = Metadata::new();
    for (key, value) in metadata.iter() {
        again.insert(key, value).expect("what was received can be sent");
        let first = read.pairs.iter().find(|(k, _)| k == key.as_bytes()).map(|(_, value)| &value[..]);
        assert_eq!(metadata.get(key), first);
    }
    assert_eq!(again, *metadata);
    if let Some(text) = metadata.get("traceparent") {
        traceparent::check(text);
    }
}

/// What SPEC C8 to C10 say of a message.
fn read(flags: u32, message: &[u8]) -> Result<Read, Code> {
    let mut rest = message;
    let mut nanoseconds = None;
    if flags & DEADLINE != 0 {
        nanoseconds = Some(u64::from_le_bytes(take(&mut rest, 8)?.try_into().expect("eight bytes")));
    }
    let mut pairs = Vec::new();
    if flags & METADATA != 0 {
        let length = u32::from_le_bytes(take(&mut rest, 4)?.try_into().expect("four bytes"));
        if length > number(METADATA_BYTES_MAX) {
            return Err(Code::ResourceExhausted);
        }
        let mut metadata = take(&mut rest, length as usize)?;
        while !metadata.is_empty() {
            let [key, value] = [part(&mut metadata)?, part(&mut metadata)?];
            let known = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(byte);
            if !(1..=64).contains(&key.len()) || !key.iter().all(known) {
                return Err(Code::InvalidArgument);
            }
            pairs.push((key, value));
        }
    }
    Ok(Read { nanoseconds, pairs, body: rest.to_vec() })
}

fn part(rest: &mut &[u8]) -> Result<Vec<u8>, Code> {
    let length = take(rest, 2)?;
    take(rest, usize::from(length[0]) + 256 * usize::from(length[1])).map(<[u8]>::to_vec)
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Code> {
    if count > rest.len() {
        return Err(Code::InvalidArgument);
    }
    let (taken, left) = rest.split_at(count);
    *rest = left;
    Ok(taken)
}
