//! The descriptor ring within one thread: what publishing and taking cost without a cache line travelling.
//!
//! `cargo bench -p rapace-benches --bench ring`

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rapace_core::descriptor::BODY_WORDS;
use rapace_core::layout::LINE_WORDS;
use rapace_core::ring::{Consumer, Producer};
use rapace_core::sync::AtomicU64;
use rapace_core::words::PeerWords;

const CAPACITY: u32 = 64;

fn ring(criterion: &mut Criterion) {
    let words: Vec<AtomicU64> = (0..CAPACITY as usize * LINE_WORDS).map(|_| AtomicU64::new(0)).collect();
    let consumed = [AtomicU64::new(0)];
    let (mut producer, mut consumer) = (Producer::new(CAPACITY), Consumer::new(CAPACITY));
    let mut group = criterion.benchmark_group("ring");
    group.throughput(Throughput::Elements(1));
    group.bench_function("publish and take", |bencher| {
        bencher.iter(|| {
            assert!(producer.has_room(0, PeerWords::new(&consumed)).unwrap());
            producer.publish(&words, black_box(&[7; BODY_WORDS]));
            let body = consumer.take(PeerWords::new(&words)).unwrap().unwrap();
            if consumer.announcement_due() {
                consumer.announce(&consumed[0]);
            }
            body
        });
    });
    group.bench_function("look at an empty ring", |bencher| {
        bencher.iter(|| consumer.take(PeerWords::new(black_box(&words))).unwrap());
    });
    group.finish();
}

criterion_group!(benches, ring);
criterion_main!(benches);
