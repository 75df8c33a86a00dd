//! Servers that stop, come back, and are followed by others, under load.

use sangam_store::Status;

use super::load::Load;
use crate::line;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_pauses() {
    let line = line::redis().await;
    let (server, _) = &line.net;
    let load = Load::start(&line.store, line::LIMIT);
    load.until_all_is_well(10).await;
    server.pause();
    load.until("down", |_| line.store.state().status == Status::Down)
        .await;
    server.resume();
    load.until("up", |_| line.store.state().status == Status::Up)
        .await;
    load.until_all_is_well(10).await;
    load.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_started_again() {
    let mut line = line::redis().await;
    let load = Load::start(&line.store, line::LIMIT);
    load.until_all_is_well(10).await;
    let (server, _) = &mut line.net;
    let store = line.store.clone();
    for _ in 0..3 {
        server.kill();
        load.until("down", |_| store.state().status == Status::Down)
            .await;
        server.restart().await;
        load.until("up", |_| store.state().status == Status::Up)
            .await;
        load.until_all_is_well(10).await;
    }
    load.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_loses_a_master() {
    let mut line = line::cluster_with_replicas().await;
    let load = Load::start(&line.store, line::LIMIT);
    load.until_all_is_well(10).await;
    load.forgives_losses();
    let cluster = &mut line.net;
    let (old, _) = cluster.fail_over("n0").await;
    load.until_all_is_well(20).await;
    cluster.restart(old).await;
    load.until_all_is_well(20).await;
    load.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_changes_a_master_without_loss() {
    let line = line::cluster_with_replicas().await;
    let load = Load::start(&line.store, line::LIMIT);
    load.until_all_is_well(10).await;
    let cluster = &line.net;
    for _ in 0..2 {
        cluster.switch_over("n0").await;
        load.until_all_is_well(20).await;
    }
    load.settle().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_choose_another_master() {
    let mut line = line::sentinel().await;
    let load = Load::start(&line.store, line::LIMIT);
    load.until_all_is_well(10).await;
    load.forgives_losses();
    let set = &mut line.net;
    let (old, _) = set.fail_over().await;
    load.until_all_is_well(20).await;
    // The old master comes back as a replica, and one sentinel dies.
    set.restart(old).await;
    set.kill_sentinel(0);
    load.until_all_is_well(20).await;
    load.settle().await;
}
