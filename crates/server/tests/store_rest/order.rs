//! Calls of one caller reach the store in their order, however many slots and
//! callers there are.

use sangam_store::{Commands, Options, Store};
use tokio::task::JoinSet;

use crate::{connect, gateway, join_all};

const CALLERS: usize = 64;
const ROUNDS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_callers_each_keeps_its_order() {
    let (_server, url) = gateway(|_| {}).await;
    for (slots, batch) in [(4, 1000), (4, 7), (1, 3), (8, 1)] {
        let options = Options {
            rest_slots: slots,
            rest_batch: batch,
            ..Options::default()
        };
        let store = connect(&url, options).await.unwrap();
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (store, key) = (store.clone(), format!("{slots}:{batch}:{caller}"));
            callers.spawn(async move { one_caller(&store, key.as_bytes()).await });
        }
        while let Some(outcome) = callers.join_next().await {
            outcome.unwrap();
        }
    }
}

/// Appends numbers in every way there is, and looks in which order they came.
async fn one_caller(store: &Store, key: &[u8]) {
    let mut next = 0;
    let mut number = || {
        next += 1;
        next.to_string().into_bytes()
    };
    for _ in 0..ROUNDS {
        let one = number();
        store.call(&[b"RPUSH", key, &one]).await.unwrap();
        // All of these are on their way at once.
        let calls: Vec<(u8, Vec<Vec<u8>>)> = [0, 0, 1, 0, 2, 0, 0, 1, 2, 0]
            .iter()
            .map(|kind| (*kind, (0..=*kind).map(|_| number()).collect()))
            .collect();
        join_all(calls.iter().map(|(kind, numbers)| async move {
            let mut commands = Commands::new();
            for number in numbers {
                commands.push(&[b"RPUSH", key, number]);
            }
            match kind {
                0 => drop(store.call(&[b"RPUSH", key, &numbers[0]]).await.unwrap()),
                1 => {
                    for outcome in store.pipeline(&commands).await {
                        outcome.unwrap();
                    }
                }
                _ => drop(store.transaction(&commands).await.unwrap()),
            }
        }))
        .await;
    }
    let reply = store.call(&[b"LRANGE", key, b"0", b"-1"]).await.unwrap();
    let sangam_store::Reply::Array(items) = reply.unpacked() else {
        panic!()
    };
    let expected: Vec<_> = (1..=next)
        .map(|number: i32| sangam_store::Reply::bulk(number.to_string()))
        .collect();
    assert_eq!(items, expected, "{}", String::from_utf8_lossy(key));
}
