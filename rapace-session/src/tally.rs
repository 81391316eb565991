//! The counters behind what a session tells of its calls: a bounded table of methods, of one direction.
//!
//! It lies in the session's state, so that it is counted with plain numbers by whoever has the lock anyway.

use std::time::Instant;

use crate::chance::{Begin, Chance};
use crate::latency::Latency;
use crate::observe::MethodCounts;
use crate::status::Code;

/// Methods that no registry describes, and that are counted by themselves. A peer may call 2^32 of them.
const UNKNOWN_MAX: usize = 64;
/// Codes of a status are below this.
const CODES: usize = 17;

/// How a call has ended: its code, 0 where it went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End(usize);

impl End {
    pub(crate) const OK: Self = Self(0);

    /// The end of a call that failed. A code that is newer than this table is an unknown one.
    pub(crate) fn of(code: Code) -> Self {
        let raw = usize::try_from(code.raw()).unwrap_or(CODES);
        Self(if raw < CODES { raw } else { 2 })
    }
}

/// The calls of one direction.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Where the row of a method is: a table that is at most half full, so that a look at a few neighbours finds it.
    places: Box<[Place]>,
    /// How far a hash is shifted to be a place.
    shift: u32,
    /// The first is that of the methods that are too many.
    rows: Vec<Row>,
    /// The method that was called last and its row: often it is called again.
    last: (u32, usize),
    unknown: usize,
    chance: Chance,
    clock: fn() -> Instant,
    /// The calls in flight that are timed, by their places among all.
    timed: Vec<(usize, Begin)>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    method: u32,
    row: RowOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowOf {
    Nobody,
    /// A method of the registry that was not called yet.
    Known,
    Row(usize),
}

/// What most calls change lies in one line of the cache.
#[derive(Debug)]
#[repr(C, align(64))]
struct Row {
    ok: u64,
    request_bytes: u64,
    reply_bytes: u64,
    /// By code; those that went well are counted by themselves.
    failed: [u64; CODES],
    latency: Latency,
}

/// The numbers of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) end: End,
    pub(crate) request_bytes: u64,
    pub(crate) reply_bytes: u64,
    /// Its place, if it is timed.
    pub(crate) timed: Option<usize>,
}

impl Tally {
    /// For methods of which these are known.
    pub(crate) fn new(known: impl Iterator<Item = u32>, seed: u64, clock: fn() -> Instant) -> Self {
        let known: Vec<u32> = known.collect();
        let size = (2 * (known.len() + UNKNOWN_MAX)).next_power_of_two();
        let places = vec![Place { method: 0, row: RowOf::Nobody }; size].into_boxed_slice();
        let (rows, chance) = (vec![Row::new()], Chance::new(seed));
        let shift = 32 - size.ilog2();
        let (timed, last) = (Vec::new(), (0, 0));
        let mut tally = Self { places, shift, rows, last, unknown: 0, chance, clock, timed };
        for method in known {
            let at = tally.place(method);
            tally.places[at] = Place { method, row: RowOf::Known };
        }
        // No registry has a method 0, so this is as good as any to begin with.
        tally.last.1 = tally.find(0);
        tally.unknown = 0;
        tally
    }

    /// A call begins, in this place among those in flight; says whether it is timed.
    #[inline]
    pub(crate) fn begin(&mut self, place: usize) -> bool {
        let chosen = self.chance.is_chosen();
        if chosen {
            self.time(place);
        }
        chosen
    }

    #[cold]
    fn time(&mut self, place: usize) {
        let begin = self.chance.begin((self.clock)());
        // One that was there before has been taken back.
        match self.timed.iter_mut().find(|(taken, _)| *taken == place) {
            Some((_, old)) => *old = begin,
            None => self.timed.push((place, begin)),
        }
    }

    #[cold]
    fn timed(&mut self, row: usize, place: usize) {
        if let Some(at) = self.timed.iter().position(|(taken, _)| *taken == place) {
            let (_, begin) = self.timed.swap_remove(at);
            self.rows[row].latency.add((self.clock)().saturating_duration_since(begin.at), begin.calls);
        }
    }

    /// A call has ended.
    #[inline]
    pub(crate) fn ended(&mut self, method: u32, ended: Ended) {
        let at = self.row(method);
        let row = &mut self.rows[at];
        match ended.end {
            End::OK => row.ok += 1,
            End(code) => row.failed[code] += 1,
        }
        row.request_bytes += ended.request_bytes;
        row.reply_bytes += ended.reply_bytes;
        if let Some(place) = ended.timed {
            self.timed(at, place);
        }
    }

    /// What has been counted, with the calls that are in flight: their methods, and the bytes of their requests and replies so
    /// far.
    pub(crate) fn counts(&mut self, in_flight: impl Iterator<Item = (u32, u64, u64)>) -> Vec<MethodCounts> {
        let in_flight: Vec<_> = in_flight.map(|(method, request, reply)| (self.row(method), request, reply)).collect();
        let mut counts: Vec<_> = self.rows.iter().map(Row::counts).collect();
        for place in &self.places {
            if let RowOf::Row(row) = place.row
                && row > 0
            {
                counts[row].method = Some(place.method);
            }
        }
        for (row, request_bytes, reply_bytes) in in_flight {
            let counts = &mut counts[row];
            counts.in_flight += 1;
            counts.request_bytes += request_bytes;
            counts.reply_bytes += reply_bytes;
        }
        counts.retain(|counts| counts.calls() + counts.in_flight > 0);
        counts.sort_by_key(|counts| (counts.method.is_none(), counts.method));
        counts
    }

    /// The row of a method.
    #[inline]
    fn row(&mut self, method: u32) -> usize {
        if self.last.0 != method {
            self.last = (method, self.find(method));
        }
        self.last.1
    }

    fn find(&mut self, method: u32) -> usize {
        let at = self.place(method);
        match self.places[at].row {
            RowOf::Row(row) => row,
            row => self.first_call(method, at, row),
        }
    }

    /// Where a method is, or would be.
    #[inline]
    fn place(&self, method: u32) -> usize {
        let hash = method.wrapping_mul(0x9E37_79B1) >> self.shift;
        let mut at = hash as usize;
        // There always is a place that nobody has.
        while self.places[at].method != method && self.places[at].row != RowOf::Nobody {
            at = (at + 1) & (self.places.len() - 1);
        }
        at
    }

    #[cold]
    fn first_call(&mut self, method: u32, at: usize, row: RowOf) -> usize {
        if row == RowOf::Nobody {
            if self.unknown == UNKNOWN_MAX {
                return 0;
            }
            self.unknown += 1;
        }
        let row = self.rows.len();
        self.rows.push(Row::new());
        self.places[at] = Place { method, row: RowOf::Row(row) };
        row
    }
}

impl Row {
    fn new() -> Self {
        Self { ok: 0, request_bytes: 0, reply_bytes: 0, failed: [0; CODES], latency: Latency::new() }
    }

    fn counts(&self) -> MethodCounts {
        let errors = (0..).zip(&self.failed).map(|(raw, count)| (Code::from_raw(raw), *count));
        MethodCounts {
            method: None,
            ok: self.ok,
            errors: errors.filter(|(_, count)| *count > 0).collect(),
            in_flight: 0,
            request_bytes: self.request_bytes,
            reply_bytes: self.reply_bytes,
            latency: self.latency.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn ended(end: End) -> Ended {
        Ended { end, request_bytes: 10, reply_bytes: 7, timed: None }
    }

    #[test]
    fn calls_are_counted_by_method_and_code() {
        let mut tally = Tally::new([5, 6].into_iter(), 1, clock::now);
        for end in [End::OK, End::of(Code::NotFound), End::OK, End::of(Code::Unauthenticated), End::of(Code::NotFound)]
        {
            tally.ended(5, ended(end));
        }
        tally.ended(1 << 31, ended(End::OK));
        let counts = tally.counts([(6, 3, 4), (5, 1, 0)].into_iter());
        let [five, six, other] = &counts[..] else { panic!("{counts:?}") };
        assert_eq!((five.method, five.ok, five.calls(), five.in_flight), (Some(5), 2, 5, 1));
        assert_eq!(five.errors, [(Code::NotFound, 2), (Code::Unauthenticated, 1)]);
        assert_eq!((five.request_bytes, five.reply_bytes), (51, 35));
        assert_eq!((six.method, six.calls(), six.in_flight, six.request_bytes), (Some(6), 0, 1, 3));
        assert_eq!((other.method, other.ok), (Some(1 << 31), 1));
    }

    #[test]
    fn methods_that_nobody_knows_do_not_push_out_those_that_somebody_does() {
        let known = 1000..1500;
        let mut tally = Tally::new(known.clone(), 1, clock::now);
        for method in (1..100_000).filter(|method| !known.contains(method)) {
            tally.ended(method, ended(End::OK));
        }
        for method in known.clone() {
            tally.ended(method, ended(End::of(Code::Internal)));
        }
        let counts = tally.counts(std::iter::empty());
        assert_eq!(counts.len(), known.len() + UNKNOWN_MAX + 1);
        for method in known {
            let counts = counts.iter().find(|counts| counts.method == Some(method)).unwrap();
            assert_eq!((counts.ok, counts.failed()), (0, 1));
        }
        let others = counts.last().unwrap();
        assert_eq!((others.method, others.ok), (None, 99_499 - 64));
    }

    #[test]
    fn each_code_has_a_place() {
        for raw in 1..17 {
            assert_eq!(End::of(Code::from_raw(raw)), End(usize::try_from(raw).unwrap()));
        }
    }

    #[test]
    fn a_call_that_is_timed_stands_for_as_many_as_its_chance_says() {
        let mut tally = Tally::new(std::iter::empty(), 1, clock::now);
        let mut now = Instant::now();
        for _ in 0..100_000 {
            clock::simulate(now);
            let timed = tally.begin(3).then_some(3);
            now += std::time::Duration::from_nanos(500);
            clock::simulate(now);
            tally.ended(1, Ended { timed, ..ended(End::OK) });
        }
        let latency = &tally.counts(std::iter::empty())[0].latency;
        assert!((95_000..105_000).contains(&latency.count()), "{}", latency.count());
        assert_eq!(latency.buckets().count(), 1);
        assert_eq!(latency.total().as_nanos(), u128::from(latency.count()) * 500);
    }
}
