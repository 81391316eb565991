//! The slot pool: taking a run of slots and giving it back, in an empty pool and in one with gaps.
//!
//! `cargo bench -p rapace-benches --bench slots`

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rapace_core::slots::{Class, SlotPool};

const SLOTS: u32 = 509;

fn slots(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slots");
    for run in [1u32, 4, 64, 256] {
        let mut pool = SlotPool::new(SLOTS);
        group.bench_with_input(BenchmarkId::new("empty pool", run), &run, |bencher, run| {
            bencher.iter(|| {
                let own = pool.allocate(*run, Class::Request).unwrap();
                pool.take_back(own.slot, own.generation).unwrap();
            });
        });
    }
    // Every other slot of the first half is taken, so that a run is found only behind them.
    let mut pool = SlotPool::new(SLOTS);
    let taken: Vec<_> = (0..SLOTS / 2).map(|_| pool.allocate(1, Class::Reply).unwrap()).collect();
    for own in taken.iter().step_by(2) {
        pool.take_back(own.slot, own.generation).unwrap();
    }
    group.bench_function("pool with gaps/4", |bencher| {
        bencher.iter(|| {
            let own = pool.allocate(4, Class::Request).unwrap();
            pool.take_back(own.slot, own.generation).unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, slots);
criterion_main!(benches);
