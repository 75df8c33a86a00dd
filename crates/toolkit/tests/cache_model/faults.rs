//! What goes wrong meanwhile.

use std::sync::Arc;
use std::time::Duration;

use sangam_rig::proxy::{Cut, Direction, Fault, Proxy, Whom};
use sangam_rig::random::Random;
use sangam_rig::redis::Answer;
use tokio::time::sleep;

use crate::{INSTANCES, World, millis};

const BUS: &str = "{cache}:bus";

pub(crate) async fn run(world: Arc<World>, seed: u64) {
    tokio::join!(
        lines(&world, 0, seed),
        lines(&world, 1, !seed),
        words(&world, seed ^ 0x0b05),
        ends(&world, seed ^ 0xe4d5),
    );
}

/// Breaks one line after the other, of every other instance.
async fn lines(world: &World, first: usize, seed: u64) {
    let mut random = Random::new(seed);
    while !world.is_over() {
        sleep(millis(&mut random, 100, 900)).await;
        let at = first + 2 * random.below(((INSTANCES - first).div_ceil(2)) as u64) as usize;
        let proxy = &world.instances[at].proxy;
        let held = millis(&mut random, 20, 600);
        strike(proxy, held, &mut random).await;
        sleep(held).await;
        // What is on its way is lost, so that it does not come after what is newer.
        proxy.cut(Cut::Reset);
        proxy.clear();
    }
}

async fn strike(proxy: &Proxy, held: Duration, random: &mut Random) {
    let slow = |direction, most| Fault::Delay {
        direction,
        least: Duration::from_millis(1),
        most: Duration::from_millis(most),
    };
    match random.below(9) {
        0 => proxy.cut(Cut::Reset),
        1 => proxy.fault(Fault::Stall, Whom::All),
        2 => proxy.fault(Fault::BlackHole, Whom::All),
        3 => proxy.fault(Fault::DropReplies, Whom::All),
        4 => proxy.fault(Fault::CutAfterReply(random.below(400)), Whom::Times(1)),
        5 => proxy.fault(Fault::CutAfterRequest(random.below(900)), Whom::Times(1)),
        6 => proxy.fault(slow(Direction::Reply, 80), Whom::All),
        7 => proxy.fault(slow(Direction::Request, 80), Whom::All),
        _ => {
            proxy.stop_listening().await;
            proxy.cut(Cut::Close);
            sleep(2 * held).await;
            proxy.listen_again().await;
        }
    }
}

/// Loses words, says them twice, and says them late.
async fn words(world: &World, seed: u64) {
    let mut random = Random::new(seed);
    let mut client = world.redis.client().await;
    while !world.is_over() {
        sleep(millis(&mut random, 20, 400)).await;
        match random.below(20) {
            0..6 => {
                client
                    .call(&["CLIENT", "KILL", "TYPE", "pubsub"])
                    .await
                    .unwrap();
            }
            6 => {
                client.call(&["XTRIM", BUS, "MAXLEN", "1"]).await.unwrap();
            }
            7 => {
                client.call(&["DEL", BUS]).await.unwrap();
            }
            _ => {
                let last = client
                    .call(&["XREVRANGE", BUS, "+", "-", "COUNT", "30"])
                    .await;
                let last = last.unwrap();
                let entries = last.items();
                if entries.is_empty() {
                    continue;
                }
                let one = &entries[random.below(entries.len() as u64) as usize];
                let fields = one.items().get(1).map(Answer::items).unwrap_or_default();
                if let Some(Answer::Bulk(text)) = fields.get(1) {
                    let publish = [b"PUBLISH".as_slice(), BUS.as_bytes(), text];
                    client.call(&publish).await.unwrap();
                }
            }
        }
    }
}

/// Ends an instance now and then, and starts it anew.
async fn ends(world: &World, seed: u64) {
    let mut random = Random::new(seed);
    while !world.is_over() {
        sleep(millis(&mut random, 1_000, 4_000)).await;
        let at = random.below(INSTANCES as u64) as usize;
        world.instances[at].start_anew().await;
    }
}
