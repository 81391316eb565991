//! Writes and reads of a plugin's storage, without the call: what the disk and the database cost.
//!
//! `cargo bench -p rapace-benches --bench storage`
//!
//! Each write is 100 bytes under a key of its own, and is on the disk when it is answered. The file is in the directory for
//! temporary files: its disk is what is measured. Of many writers each waits for its answer before it goes on.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use futures_util::future::join_all;
use rapace_host::{PluginScope, PluginStorage, Storage};
use rapace_host_api::storage::{Space, Storage as _};
use tokio::runtime::{Builder, Runtime};

fn main() {
    let path = std::env::temp_dir().join(format!("rapace-bench-storage-{}", std::process::id()));
    let storage = Storage::open(&path).unwrap();
    let plugin = storage.of(&PluginScope::new("bench"));
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("storage");
    group.throughput(Throughput::Elements(1));
    for writers in [1, 64, 1024] {
        group.bench_function(format!("set, {writers} at once"), |bencher| {
            bencher.iter_custom(|count| written(&runtime, &plugin, writers, count));
        });
    }
    runtime.block_on(plugin.set("k", &[7; 100], Space::Own)).unwrap();
    group.bench_function("get", |bencher| {
        bencher.iter(|| runtime.block_on(plugin.get("k", Space::Own)).unwrap());
    });
    group.finish();
    criterion.final_summary();
    drop((plugin, storage));
    std::fs::remove_file(path).unwrap();
}

/// How long that many writes take together.
fn written(runtime: &Runtime, plugin: &PluginStorage, writers: u64, count: u64) -> Duration {
    let writer = async |writer| {
        for n in (writer..count).step_by(usize::try_from(writers).unwrap()) {
            plugin.set(&format!("{n:06}"), &[7; 100], Space::Own).await.unwrap();
        }
    };
    let start = Instant::now();
    runtime.block_on(join_all((0..writers).map(writer)));
    start.elapsed()
}
