//! The good plugin beside the hostile ones, and the thread that calls it without pause.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rapace_host::PluginHandle;
use rapace_session::CallOptions;
use rapace_tests::method;
use rapace_tests::pattern::{pattern, words};

/// What a good call may take on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(5);
/// Of so many calls one has a payload, and one is answered by calling back.
const ROUND: u64 = 16;
const PAYLOAD_BYTES: usize = 5000;

/// A thread that calls until it is told to stop.
pub(crate) struct GoodCalls {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl GoodCalls {
    pub(crate) fn begin(plugin: &PluginHandle) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (plugin, stopped, counted) = (plugin.clone(), Arc::clone(&stop), Arc::clone(&count));
        let call = move || {
            while !stopped.load(Ordering::SeqCst) {
                call(&plugin, counted.load(Ordering::SeqCst));
                counted.fetch_add(1, Ordering::SeqCst);
            }
        };
        let thread = thread::Builder::new().name("good-calls".to_owned()).spawn(call).unwrap();
        Self { stop, count, thread: Some(thread) }
    }

    /// How many calls went well.
    #[track_caller]
    pub(crate) fn count(&self) -> u64 {
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "a good call has failed");
        self.count.load(Ordering::SeqCst)
    }
}

impl Drop for GoodCalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let result = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(result, Some(Ok(()))), "a good call has failed");
    }
}

/// Makes one call, and checks its reply.
pub(crate) fn call(plugin: &PluginHandle, number: u64) {
    let (method, body) = match number % ROUND {
        0 => (method::ECHO, pattern(PAYLOAD_BYTES, number)),
        1 => (method::NEST, words(&[3, number])),
        _ => (method::ECHO, words(&[number])),
    };
    let reply = plugin.call(method, &body, &CallOptions::new().deadline(DEADLINE));
    let reply = reply.unwrap_or_else(|error| panic!("good call {number} of method {method}: {error}"));
    let expected = if method == method::NEST { words(&[3, number]) } else { body };
    assert!(reply.body == expected[..], "good call {number} of method {method} has another reply");
}
