//! What both sides serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rapace_session::{CallError, CallOptions, Code, IncomingCall, Metadata, Reply, Router, Status};

use crate::method;
use crate::pattern::{pattern, word, words};
use crate::streaming::with_streams;

/// How long a thread rests between two looks at a condition that nobody wakes it for.
pub const REST: Duration = Duration::from_millis(1);

/// The state of the handlers.
#[derive(Debug, Default)]
pub struct Service {
    held: Mutex<Vec<IncomingCall>>,
    watching: AtomicU64,
    watched: AtomicU64,
    marks: AtomicU64,
}

impl Service {
    /// A handler of the methods that both sides have.
    pub fn router(self: &Arc<Self>) -> Router {
        let with = |handle: fn(&Arc<Self>, IncomingCall)| {
            let service = Arc::clone(self);
            move |call: IncomingCall| handle(&service, call)
        };
        with_streams(Router::new())
            .method(method::ECHO, echo)
            .method(method::NEST, nest)
            .method(method::BYTES, |call: IncomingCall| answer_bytes(call))
            .method(method::BYTES_LATER, |call: IncomingCall| drop(thread::spawn(|| answer_bytes(call))))
            .method(method::HOLD, with(|service, call| service.held.lock().push(call)))
            .method(method::RELEASE, with(|service, call| call.reply(&words(&[service.release()]))))
            .method(method::HELD, with(|service, call| call.reply(&words(&[service.held()]))))
            .method(method::WATCH, with(watch))
            .method(method::WATCHED, with(|service, call| answer_counts(&[&service.watching, &service.watched], call)))
            .method(method::MARK, with(mark))
            .method(method::MARKS, with(|service, call| answer_counts(&[&service.marks], call)))
            .method(method::ENTER, |call: IncomingCall| {
                let result = call.call_back(method::HOLD, call.body(), &CallOptions::new());
                answer(call, result);
            })
            .method(method::TIME_LEFT, time_left)
            .method(method::WHO, |call: IncomingCall| {
                let name = call.peer().to_owned();
                call.reply(name.as_bytes());
            })
            .method(method::FAIL, fail)
            .method(method::PANIC, |_: IncomingCall| panic!("as the caller wants it"))
            .method(method::DROP, |_: IncomingCall| {})
            .method(method::METADATA, answer_metadata)
    }

    /// Takes the calls that are held.
    pub fn take_held(&self) -> Vec<IncomingCall> {
        std::mem::take(&mut *self.held.lock())
    }

    /// How many calls are held.
    pub fn held(&self) -> u64 {
        self.held.lock().len() as u64
    }

    /// Answers all calls that are held; says how many.
    pub fn release(&self) -> u64 {
        let held = self.take_held();
        let count = held.len() as u64;
        held.into_iter().for_each(echo);
        count
    }
}

/// Answers with what a nested call brought.
pub fn answer(call: IncomingCall, result: Result<Reply, CallError>) {
    match result {
        Ok(reply) => call.reply(&reply.body),
        Err(error) => call.fail(Status::new(error.code(), error.to_string())),
    }
}

fn echo(mut call: IncomingCall) {
    let (body, metadata) = (call.take_body(), call.metadata().clone());
    call.reply_with(&body, &metadata);
}

fn nest(call: IncomingCall) {
    if u64::from(call.depth()) >= word(call.body(), 0) {
        let rest = call.body().get(8..).unwrap_or_default();
        let reply = [&u64::from(call.depth()).to_le_bytes(), rest].concat();
        return call.reply(&reply);
    }
    let result = call.call_back(method::NEST, call.body(), &CallOptions::new());
    answer(call, result);
}

fn answer_bytes(call: IncomingCall) {
    let count = usize::try_from(word(call.body(), 0)).unwrap_or(0);
    let bytes = pattern(count, word(call.body(), 1));
    call.reply(&bytes);
}

fn answer_counts(counts: &[&AtomicU64], call: IncomingCall) {
    let counts: Vec<u64> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    call.reply(&words(&counts));
}

fn answer_metadata(call: IncomingCall) {
    let bytes = usize::try_from(word(call.body(), 0)).unwrap_or(0);
    let mut metadata = Metadata::new();
    // What a pair adds to its value: two lengths, and a key of one byte.
    let values = (bytes / 1000).max(1);
    for index in 0..values {
        let share = bytes / values + if index == 0 { bytes % values } else { 0 };
        if let Err(error) = metadata.insert("k", vec![0; share.saturating_sub(5)]) {
            return call.fail(Status::new(Code::Internal, error.to_string()));
        }
    }
    call.reply_with(b"", &metadata);
}

fn watch(service: &Arc<Service>, call: IncomingCall) {
    let service = Arc::clone(service);
    service.watching.fetch_add(1, Ordering::SeqCst);
    thread::spawn(move || {
        while !call.is_cancelled() {
            thread::park_timeout(REST);
        }
        service.watched.fetch_add(1, Ordering::SeqCst);
        call.reply(b"");
    });
}

fn mark(service: &Arc<Service>, call: IncomingCall) {
    service.marks.fetch_add(1, Ordering::SeqCst);
    call.reply(b"");
}

fn time_left(call: IncomingCall) {
    let left = call.time_left().map_or(u64::MAX, |left| u64::try_from(left.as_nanos()).unwrap_or(u64::MAX));
    call.reply(&words(&[left]));
}

fn fail(call: IncomingCall) {
    let message = String::from_utf8_lossy(call.body()).into_owned();
    let details = call.body().to_vec();
    call.fail(Status { details, ..Status::new(Code::NotFound, message) });
}
