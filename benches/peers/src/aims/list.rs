//! All aims, in the order of their table.

use super::Bound::{self, AtLeast, AtMost};
use super::{Aim, Rows, Term};

const P50: &str = "unary_p50";
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

const fn rapace(mode: &'static [&'static str], metric: &'static str, bytes: usize) -> Term {
    (Rows::Of("rapace", mode), metric, bytes)
}

const fn limit(mode: &'static [&'static str], metric: &'static str, bytes: usize) -> Term {
    (Rows::Of("limit", mode), metric, bytes)
}

const fn ratio(what: &'static str, over: Term, under: Term, bound: Bound, aim: f64) -> Aim {
    Aim { what, over, under: Some(under), bound, aim }
}

const fn figure(what: &'static str, over: Term, bound: Bound, aim: f64) -> Aim {
    Aim { what, over, under: None, bound, aim }
}

const RAW: &[&str] = &["raw-blocking"];
const IN_PLACE: &[&str] = &["raw-in-place"];
const TYPED: &[&str] = &["typed-blocking"];
const DEFAULT: &[&str] = &["typed-default"];
const TOKIO: &[&str] = &["typed-tokio"];
const HOST: &[&str] = &["host"];
const TYPED_IN_FLIGHT: &[&str] = &["typed-blocking", "typed-default", "typed-tokio"];
const CACHE_LINE: Term = limit(&["cache-line"], P50, 8);
const PUBSUB: Rows = Rows::Of("iceoryx2", &["pubsub-polling"]);

const fn copy_echo(bytes: usize) -> Term {
    limit(&["copy-echo"], P50, bytes)
}

const fn iceoryx2(bytes: usize) -> Term {
    (Rows::Of("iceoryx2", &["request-polling"]), P50, bytes)
}

/// More than none, and less than any that come with each call.
const HARDLY_ANY: f64 = 0.01;
/// What is meant by flat.
const FLAT: f64 = 1.2;

pub(super) const AIMS: &[Aim] = &[
    ratio("raw session, 8 B, both spinning : cache line", rapace(RAW, P50, 8), CACHE_LINE, AtMost, 1.25),
    ratio("typed blocking, 8 B : cache line", rapace(TYPED, P50, 8), CACHE_LINE, AtMost, 1.5),
    ratio("typed blocking, 8 B, p99 : cache line, p50", rapace(TYPED, "unary_p99", 8), CACHE_LINE, AtMost, 2.5),
    ratio("typed blocking, 64 B : copy echo", rapace(TYPED, P50, 64), copy_echo(64), AtMost, 1.3),
    ratio("typed blocking, 1 KiB : copy echo", rapace(TYPED, P50, KIB), copy_echo(KIB), AtMost, 1.3),
    ratio("typed blocking, 4 KiB : copy echo", rapace(TYPED, P50, 4 * KIB), copy_echo(4 * KIB), AtMost, 1.3),
    ratio("typed blocking, 64 KiB : copy echo", rapace(TYPED, P50, 64 * KIB), copy_echo(64 * KIB), AtMost, 1.3),
    ratio("typed blocking, 1 MiB : copy echo", rapace(TYPED, P50, MIB), copy_echo(MIB), AtMost, 1.3),
    ratio("in place, trusted, 64 KiB : copy echo", rapace(IN_PLACE, P50, 64 * KIB), copy_echo(64 * KIB), AtMost, 1.0),
    ratio("in place, trusted, 1 MiB : copy echo", rapace(IN_PLACE, P50, MIB), copy_echo(MIB), AtMost, 1.0),
    ratio("typed tokio, 8 B : cache line", rapace(TOKIO, P50, 8), CACHE_LINE, AtMost, 3.0),
    ratio("iceoryx2 request polling : typed blocking, 8 B", iceoryx2(8), rapace(TYPED, P50, 8), AtLeast, 5.0),
    ratio("iceoryx2 request polling : typed blocking, 64 B", iceoryx2(64), rapace(TYPED, P50, 64), AtLeast, 5.0),
    ratio("iceoryx2 request polling : typed blocking, 1 KiB", iceoryx2(KIB), rapace(TYPED, P50, KIB), AtLeast, 2.5),
    ratio(
        "iceoryx2 request polling : typed blocking, 4 KiB",
        iceoryx2(4 * KIB),
        rapace(TYPED, P50, 4 * KIB),
        AtLeast,
        1.4,
    ),
    ratio(
        "iceoryx2 request polling : in place, 64 KiB",
        iceoryx2(64 * KIB),
        rapace(IN_PLACE, P50, 64 * KIB),
        AtLeast,
        1.0,
    ),
    ratio("iceoryx2 request polling : in place, 1 MiB", iceoryx2(MIB), rapace(IN_PLACE, P50, MIB), AtLeast, 1.0),
    ratio(
        "first call after 1 ms of silence : wake-up there and back",
        rapace(DEFAULT, "first_call_after_1ms", 8),
        limit(&["wake-up"], P50, 8),
        AtMost,
        0.65,
    ),
    ratio(
        "first call after 1 ms : wake-up there and back after 1 ms",
        rapace(DEFAULT, "first_call_after_1ms", 8),
        limit(&["wake-up"], "first_call_after_1ms", 8),
        AtMost,
        0.65,
    ),
    figure(
        "bells and sleeps of a sequential call, defaults",
        rapace(DEFAULT, "bells_and_sleeps", 8),
        AtMost,
        HARDLY_ANY,
    ),
    figure("64 typed calls of 64 B in flight, calls/s", rapace(TYPED_IN_FLIGHT, "in_flight_64", 64), AtLeast, 4e6),
    ratio(
        "64 typed calls of 64 B in flight : best peer",
        rapace(TYPED_IN_FLIGHT, "in_flight_64", 64),
        (Rows::Peers, "in_flight_64", 64),
        AtLeast,
        4.0,
    ),
    ratio(
        "1 MiB one way, built in place : iceoryx2 publish-subscribe",
        rapace(IN_PLACE, "one_way", MIB),
        (PUBSUB, "one_way", MIB),
        AtLeast,
        0.9,
    ),
    ratio(
        "1 MiB one way, one copy : memcpy",
        rapace(RAW, "one_way", MIB),
        limit(&["memcpy"], "one_way", MIB),
        AtLeast,
        0.8,
    ),
    figure("processor time at rest, defaults, %", rapace(DEFAULT, "idle_cpu", 0), AtMost, 0.0),
    figure("wake-ups at rest, defaults, per s", rapace(DEFAULT, "idle_wake_ups", 0), AtMost, 0.0),
    figure("processor time at rest, host, %", rapace(HOST, "idle_cpu", 0), AtMost, 0.0),
    figure("wake-ups at rest, host, per s", rapace(HOST, "idle_wake_ups", 0), AtMost, 0.0),
    ratio(
        "spawn to first reply, plugin of a host : bare process",
        rapace(HOST, "spawn_to_first_reply", 0),
        limit(&["process"], "spawn_to_first_reply", 0),
        AtMost,
        2.0,
    ),
    ratio(
        "32 plugins, one busy : one plugin",
        rapace(HOST, "plugins_32", 8),
        rapace(HOST, "plugins_1", 8),
        AtMost,
        1.2,
    ),
    ratio(
        "growth: 200 plugins : one plugin",
        rapace(HOST, "plugins_200", 8),
        rapace(HOST, "plugins_1", 8),
        AtMost,
        FLAT,
    ),
    ratio(
        "growth: a call of the tenth million : of the first",
        rapace(TYPED, "calls_10m", 8),
        rapace(TYPED, "calls_1m", 8),
        AtMost,
        FLAT,
    ),
    ratio(
        "growth: calls/s of one thread : of 64, one session",
        rapace(DEFAULT, "threads_1", 8),
        rapace(DEFAULT, "threads_64", 8),
        AtMost,
        FLAT,
    ),
];
