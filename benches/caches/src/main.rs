//! Caches beside their peers and beside the same work done by hand: both sides in one
//! run and in turns, over the embedded engine and a redis-server of its own.
//!
//! `cargo run --release [parts]`, in this folder; prints Markdown. Parts are `memory`,
//! `store`, `load`, `many`, `tags` and `compression`; all of them without a name.

mod compression;
mod data;
mod load;
mod many;
mod memory;
mod place;
mod store;
mod tags;
mod turns;

use tokio::runtime::Runtime;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|it| it == part);
    let runtime = runtime();
    if wanted("memory") {
        memory::measure(&runtime);
    }
    runtime.block_on(async {
        if wanted("store") {
            store::measure().await;
        }
        if wanted("load") {
            load::measure().await;
        }
        if wanted("many") {
            many::measure().await;
        }
        if wanted("tags") {
            tags::measure().await;
        }
        if wanted("compression") {
            compression::measure().await;
        }
    });
}

/// One thread for the clients, so that redis-server has the other of two cores.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}
