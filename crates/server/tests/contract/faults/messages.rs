//! Subscribers are told where messages may be missing.

use std::time::Duration;

use sangam_rig::proxy::{Cut, Fault, Whom};
use sangam_store::{Event, Gap, Subscription, Topic};
use tokio::time::timeout;

use crate::line::{self, Line, Net};

async fn next(subscription: &mut Subscription) -> Event {
    timeout(Duration::from_secs(15), subscription.next())
        .await
        .expect("an event in time")
        .expect("no end")
}

/// Publishes until it works.
async fn publish(line: &Line<impl Net>, channel: &str, payload: &str) {
    let end = tokio::time::Instant::now() + Duration::from_secs(15);
    while let Err(error) = line
        .store
        .publish(channel.as_bytes(), payload.as_bytes())
        .await
    {
        assert!(tokio::time::Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_break_is_a_gap(line: Line<impl Net>) {
    let names = [b"news".as_slice()];
    let mut subscription = line.store.subscribe(Topic::Channel, &names).await.unwrap();
    for turn in 0..3 {
        let payload = format!("before {turn}");
        publish(&line, "news", &payload).await;
        let Event::Message(message) = next(&mut subscription).await else {
            panic!("no message");
        };
        assert_eq!(&*message.payload, payload.as_bytes());
        for proxy in line.net.proxies() {
            proxy.fault(Fault::Refuse, Whom::Times(1));
            proxy.cut(Cut::Reset);
        }
        assert_eq!(next(&mut subscription).await, Event::Gap(Gap::Broken));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_break_of_redis_is_a_gap() {
    a_break_is_a_gap(line::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_break_of_a_cluster_is_a_gap() {
    a_break_is_a_gap(line::cluster().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_break_of_rest_is_a_gap() {
    a_break_is_a_gap(line::rest().await).await;
}
