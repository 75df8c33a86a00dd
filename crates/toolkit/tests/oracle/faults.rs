//! What goes wrong meanwhile.

use std::sync::Arc;
use std::time::Duration;

use sangam_rig::proxy::{Cut, Direction, Fault, Whom};
use sangam_rig::random::Random;
use sangam_rig::redis::Redis;
use tokio::time::{Instant, sleep};

use crate::instance::Instance;

/// Makes faults after a calm beginning, and none are left at the end.
pub(crate) async fn run(
    redis: &Redis,
    instances: &[Arc<Instance>],
    calm: Duration,
    whole: Duration,
    seed: u64,
) {
    let end = Instant::now() + whole;
    sleep(calm).await;
    let (odd, even) = instances.split_at(instances.len() / 2);
    tokio::join!(
        lines(odd, end, seed),
        lines(even, end, !seed),
        server(redis, end, seed ^ 0x5eed),
    );
}

/// Stops the server now and then; it goes on with what was sent meanwhile.
async fn server(redis: &Redis, end: Instant, seed: u64) {
    let mut random = Random::new(seed);
    while Instant::now() < end {
        redis.pause();
        sleep(millis(&mut random, 20, 250)).await;
        redis.resume();
        sleep(millis(&mut random, 200, 500)).await;
    }
}

/// Breaks one line after the other.
async fn lines(instances: &[Arc<Instance>], end: Instant, seed: u64) {
    let mut random = Random::new(seed);
    while Instant::now() < end {
        let at = random.below(instances.len() as u64) as usize;
        let proxy = &instances[at].proxy;
        let held = millis(&mut random, 50, 350);
        match random.below(8) {
            0 => proxy.cut(Cut::Reset),
            1 => proxy.fault(Fault::Stall, Whom::All),
            2 => proxy.fault(Fault::BlackHole, Whom::All),
            3 => proxy.fault(Fault::DropReplies, Whom::All),
            4 => proxy.fault(Fault::CutAfterReply(random.below(60)), Whom::Times(1)),
            5 => proxy.fault(Fault::CutAfterRequest(random.below(400)), Whom::Times(1)),
            6 => {
                let slow = Fault::Delay {
                    direction: Direction::Reply,
                    least: Duration::from_millis(5),
                    most: Duration::from_millis(60),
                };
                proxy.fault(slow, Whom::All);
            }
            _ => {
                proxy.stop_listening().await;
                proxy.cut(Cut::Close);
                // Over several windows.
                sleep(4 * held).await;
                proxy.listen_again().await;
                continue;
            }
        }
        sleep(held).await;
        proxy.clear();
        // What a fault did to a connection may last.
        proxy.cut(Cut::Reset);
    }
}

fn millis(random: &mut Random, least: u64, most: u64) -> Duration {
    Duration::from_millis(least + random.below(most - least))
}
