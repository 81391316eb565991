//! The slot pool: taking a run of slots and giving it back, in an empty pool and in one with gaps. And payloads in slots,
//! between two links in one thread: copied in or built in place, copied out or read in place; every byte is written by
//! the sender and read by the receiver once.
//!
//! `cargo bench -p rapace-benches --bench slots`

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rapace_core::channel::{ChannelGeneration, ChannelId};
use rapace_core::descriptor::{Flags, FrameHeader, Kind};
use rapace_core::memory::Trust;
use rapace_core::offer::{Backing, Offer};
use rapace_core::segment::{Prefault, Segment};
use rapace_core::slots::{Class, SlotPool};
use rapace_core::socket::Socket;
use rapace_core::{Geometry, GeometryConfig, Link, Side};

const SLOTS: u32 = 509;

fn pool(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slots");
    for run in [1u32, 4, 64, 256] {
        let mut pool = SlotPool::new(SLOTS);
        group.bench_with_input(BenchmarkId::new("empty pool", run), &run, |bencher, run| {
            bencher.iter(|| take_and_return(&mut pool, *run));
        });
    }
    // Every other slot of the first half is taken, so that a run is found only behind them.
    let mut pool = SlotPool::new(SLOTS);
    let taken: Vec<_> = (0..SLOTS / 2).map(|_| pool.allocate(1, Class::Reply).unwrap()).collect();
    taken.into_iter().step_by(2).for_each(|own| pool.give_up(own));
    group.bench_function("pool with gaps/4", |bencher| {
        bencher.iter(|| take_and_return(&mut pool, 4));
    });
    group.finish();
}

fn take_and_return(pool: &mut SlotPool, slots: u32) {
    let own = pool.allocate(slots, Class::Request).unwrap();
    let (slot, generation) = (own.slot, own.generation);
    pool.hand_over(own, slots);
    pool.take_back(slot, generation).unwrap();
}

fn payloads(criterion: &mut Criterion) {
    let (mut host, mut plugin) = links();
    for (bytes, size) in [(64 << 10, "64 KiB"), (1 << 20, "1 MiB")] {
        let mut group = criterion.benchmark_group(format!("payload of {size}"));
        group.throughput(Throughput::Bytes(bytes as u64));
        row(&mut group, "copied in, copied out", &mut host, &mut plugin, |host| send_copy(host, bytes), read_copy);
        row(&mut group, "loan, copied out", &mut host, &mut plugin, |host| send_loan(host, bytes), read_copy);
        row(&mut group, "copied in, view", &mut host, &mut plugin, |host| send_copy(host, bytes), read_view);
        row(&mut group, "loan, view", &mut host, &mut plugin, |host| send_loan(host, bytes), read_view);
        group.finish();
    }
}

fn row(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    host: &mut Link,
    plugin: &mut Link,
    send: impl Fn(&mut Link),
    read: impl Fn(&mut Link) -> u64,
) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            send(host);
            read(plugin)
        });
    });
}

fn links() -> (Link, Link) {
    let geometry = Geometry::new(GeometryConfig::default()).unwrap();
    let (a, fds) = Segment::create(geometry, 1, Prefault::Now).unwrap();
    let b = Segment::accept(&Offer::new(Backing::Sealed, 1, geometry), fds).unwrap();
    let (here, there) = Socket::pair().unwrap();
    let (host, mut plugin) = (Link::new(a, here), Link::new(b, there));
    plugin.trust_peer(Trust::peer_leaves_payloads_alone());
    (host, plugin)
}

fn header() -> FrameHeader {
    FrameHeader {
        channel: ChannelId::new(Side::A, 1, ChannelGeneration::FIRST),
        method: 1,
        kind: Kind::Request,
        flags: Flags::NONE,
        depth: 1,
        credit: 0,
    }
}

fn send_copy(host: &mut Link, bytes: usize) {
    let body = vec![black_box(7u8); bytes];
    host.try_send(Class::Request, &header(), &[&body]).unwrap();
}

fn send_loan(host: &mut Link, bytes: usize) {
    let mut loan = host.try_loan(Class::Request, bytes).unwrap();
    loan[..bytes].fill(black_box(7));
    host.send_loan(loan, 0..bytes, &header()).unwrap();
}

fn read_copy(plugin: &mut Link) -> u64 {
    let payload = plugin.receive().unwrap().unwrap().payload;
    let mut body = Vec::new();
    plugin.take_payload(payload, &mut body);
    sum(&body)
}

fn read_view(plugin: &mut Link) -> u64 {
    let payload = plugin.receive().unwrap().unwrap().payload;
    let view = plugin.view_payload(payload).unwrap();
    let sum = sum(&view);
    plugin.return_view(view);
    sum
}

/// Reads all bytes, eight at a time, so that the reading does not hide what the copies cost.
fn sum(bytes: &[u8]) -> u64 {
    bytes.as_chunks().0.iter().fold(0, |sum, chunk| sum ^ u64::from_le_bytes(*chunk))
}

criterion_group!(benches, pool, payloads);
criterion_main!(benches);
