//! Counts and times calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rapace_session::{Code, Status};

use super::Interceptor;
use super::call::{CallEnd, CallSide, CallStart};
use super::histogram::Histogram;
use super::metrics_snapshot::{MethodMetrics, MetricsSnapshot};
use super::per_method::PerMethod;
use crate::method_info::MethodInfo;

/// Codes of a status are below this.
const CODES: usize = 17;

/// Counts calls by method and side: how they ended, how long they took, how many bytes they moved.
///
/// A clone counts into the same numbers, so that one can be an interceptor (of a client, a server or both), and the
/// other be asked for a [`snapshot`](Self::snapshot).
#[derive(Clone, Debug)]
pub struct CallMetrics {
    methods: Arc<PerMethod<BothSides>>,
}

/// The counters of a method: as a caller, as a callee.
#[derive(Debug)]
struct BothSides([Counters; 2]);

#[derive(Debug)]
struct Counters {
    /// Ended calls by the number of their code; those that went well are at 0.
    ended: [AtomicU64; CODES],
    in_flight: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    latency: Histogram,
}

impl CallMetrics {
    /// Has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { methods: Arc::new(PerMethod::new()) }
    }

    /// What has been counted so far. Calls go on meanwhile, so the numbers of one call may be there in part.
    #[must_use]
    pub fn snapshot(&self) -> MetricsSnapshot {
        let of_method = |method: &MethodInfo, BothSides([caller, callee]): &BothSides| {
            [caller.snapshot(method, CallSide::Caller), callee.snapshot(method, CallSide::Callee)]
        };
        let both = self.methods.collect(of_method).into_iter().flatten();
        let mut methods: Vec<_> = both.filter(|metrics| metrics.calls() + metrics.in_flight > 0).collect();
        methods.sort_by_key(|metrics| (metrics.service, metrics.method, metrics.side));
        MetricsSnapshot { methods }
    }

    fn with(&self, method: &MethodInfo, side: CallSide, count: impl FnOnce(&Counters)) {
        self.methods.with(method, BothSides::new, |BothSides([caller, callee])| match side {
            CallSide::Caller => count(caller),
            CallSide::Callee => count(callee),
        });
    }
}

impl Default for CallMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Interceptor for CallMetrics {
    fn begin(&self, call: &mut CallStart<'_>) -> Result<(), Status> {
        self.with(call.method(), call.side(), |counters| {
            counters.in_flight.fetch_add(1, Ordering::Relaxed);
        });
        Ok(())
    }

    fn end(&self, call: &CallEnd<'_>) {
        self.with(call.method(), call.side(), |counters| {
            counters.in_flight.fetch_sub(1, Ordering::Relaxed);
            counters.ended[place(call.code())].fetch_add(1, Ordering::Relaxed);
            for (sum, bytes) in
                [(&counters.request_bytes, call.request_bytes()), (&counters.response_bytes, call.response_bytes())]
            {
                sum.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
            counters.latency.add(call.elapsed());
        });
    }
}

impl BothSides {
    fn new() -> Self {
        Self([Counters::new(), Counters::new()])
    }
}

impl Counters {
    fn new() -> Self {
        Self {
            ended: [const { AtomicU64::new(0) }; CODES],
            in_flight: AtomicU64::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
            latency: Histogram::new(),
        }
    }

    fn snapshot(&self, method: &MethodInfo, side: CallSide) -> MethodMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let errors = (0..).zip(&self.ended).skip(1).map(|(raw, count)| (Code::from_raw(raw), read(count)));
        MethodMetrics {
            service: method.service,
            method: method.name,
            side,
            ok: read(&self.ended[0]),
            errors: errors.filter(|(_, count)| *count > 0).collect(),
            in_flight: read(&self.in_flight),
            request_bytes: read(&self.request_bytes),
            response_bytes: read(&self.response_bytes),
            latency: self.latency.snapshot(),
        }
    }
}

/// Where calls are counted that ended like this. A code that is newer than this table is an unknown one.
fn place(code: Option<Code>) -> usize {
    let raw = usize::try_from(code.map_or(0, Code::raw)).unwrap_or(usize::MAX);
    if raw < CODES { raw } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::super::Interceptors;
    use super::super::tests::{GET, SET, start};
    use super::*;

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let metrics = CallMetrics::new();
        let interceptors = Interceptors::none().with(metrics.clone());
        for code in [None, None, Some(Code::NotFound), Some(Code::Unauthenticated), Some(Code::NotFound)] {
            let mut guard = start(&interceptors, &GET).unwrap();
            guard.add_response_bytes(7);
            guard.end(code);
        }
        let _running = start(&interceptors, &SET).unwrap();
        let snapshot = metrics.snapshot();
        let [get, set] = &snapshot.methods[..] else { panic!("{snapshot}") };
        assert_eq!((get.method, get.calls(), get.ok, get.in_flight), ("get", 5, 2, 0));
        assert_eq!(get.errors, [(Code::NotFound, 2), (Code::Unauthenticated, 1)]);
        assert_eq!((get.request_bytes, get.response_bytes, get.latency.count()), (50, 35, 5));
        assert_eq!((set.method, set.calls(), set.in_flight, set.side), ("set", 0, 1, CallSide::Callee));
    }

    #[test]
    fn each_code_has_a_place() {
        assert_eq!(place(None), 0);
        for raw in 1..17 {
            assert_eq!(place(Some(Code::from_raw(raw))), usize::try_from(raw).unwrap());
        }
    }
}
