//! What is to be done for plugins that have come, changed or gone: for each in its order, and for all in theirs unless one takes
//! long.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;

/// So long the others wait for one: what is done in less is done in the order in which it was to be.
const SHARE: Duration = Duration::from_secs(1);

/// What has yet to be done, by the plugin.
pub(super) struct Errands<T>(Mutex<HashMap<String, VecDeque<Errand<T>>>>);

struct Errand<T> {
    what: T,
    /// Dropped when it is done.
    _done: Sender<()>,
}

/// Done when this says so, or is not waited for any more.
pub(super) struct Pending(Receiver<()>);

impl<T> Default for Errands<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Errands<T> {
    /// Notes another one; says also whether somebody is to see to this plugin's.
    pub(super) fn push(&self, plugin: &str, what: T) -> (Pending, bool) {
        let (done, pending) = channel();
        let mut errands = self.0.lock();
        let is_first = !errands.contains_key(plugin);
        errands.entry(plugin.to_owned()).or_default().push_back(Errand { what, _done: done });
        (Pending(pending), is_first)
    }

    /// Sees to all of a plugin's.
    pub(super) fn see_to(&self, plugin: &str, mut act: impl FnMut(T)) {
        while let Some(Errand { what, _done }) = self.next(plugin) {
            if catch_unwind(AssertUnwindSafe(|| act(what))).is_err() {
                tracing::error!(plugin, "who is told of a plugin's state has panicked");
            }
        }
    }

    fn next(&self, plugin: &str) -> Option<Errand<T>> {
        let mut errands = self.0.lock();
        let next = errands.get_mut(plugin).and_then(VecDeque::pop_front);
        if next.is_none() {
            errands.remove(plugin);
        }
        next
    }
}

impl Pending {
    /// Waits for it, but not for long.
    pub(super) fn wait(self) {
        // It is only ever disconnected.
        let _ = self.0.recv_timeout(SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_plugin_is_seen_to_behind_the_other_and_nobody_waits_for_one_that_takes_long() {
        let errands = Errands::default();
        let (first, is_first) = errands.push("a", 1);
        let (second, is_second_first) = errands.push("a", 2);
        assert!(is_first && !is_second_first);
        // Nobody has begun with it.
        first.wait();
        let mut done = Vec::new();
        errands.see_to("a", |errand| {
            done.push(errand);
            assert!(errand != 1, "a panic ends this one alone");
        });
        second.wait();
        assert_eq!(done, [1, 2]);
        assert!(errands.push("a", 3).1);
    }
}
