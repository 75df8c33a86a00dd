//! A pipeline over several masters: each gets its part in one piece and in
//! order, all at the same time. What is redirected goes again alone, in order.

use std::sync::Arc;

use futures_util::future::join_all;
use sangam_engine::Reply;

use super::redirection::{Redirection, may_make_up_errors};
use super::route::{Route, crossed, route};
use super::{Cluster, is_stale, moving, not_served};
use crate::backend::redis::node::Node;
use crate::backend::redis::plan::{Outcomes, Plan, outcomes};
use crate::backend::{Failure, Sent};
use crate::commands::Commands;
use crate::kind::Kind;

/// Commands for one master: their places among all.
struct Part {
    node: Arc<Node>,
    places: Vec<usize>,
}

impl Cluster {
    pub(super) async fn run_pipeline(&self, commands: &Commands, sent: &Sent) -> Outcomes {
        let mut outcomes = outcomes(commands);
        let all = 0..commands.len();
        let mut open: Vec<usize> = all
            .filter(|at| outcomes.get(*at).is_some_and(Result::is_ok))
            .collect();
        let mut apart = Vec::new();
        let mut asked = Vec::new();
        for again in [false, true] {
            let parts = match self.parts(commands, &open, &mut apart, &mut outcomes).await {
                Ok(parts) => parts,
                Err(failure) => {
                    for at in open {
                        put(&mut outcomes, at, Err(failure.clone()));
                    }
                    if again {
                        break;
                    }
                    return outcomes;
                }
            };
            open = self.run_parts(commands, &parts, sent, &mut outcomes).await;
            asked.extend(parts);
            // A master that could not be reached: perhaps there is another now.
            if open.is_empty() || again || self.refresh().await.is_err() {
                break;
            }
        }
        self.follow_each(commands, &asked, sent, &mut outcomes)
            .await;
        for at in apart {
            let argv = commands.get(at).unwrap_or_default();
            put(&mut outcomes, at, self.run(&argv, sent).await);
        }
        outcomes
    }

    /// Shares commands out among the masters. What goes to several of them is
    /// left for later; what goes to none has its outcome.
    async fn parts(
        &self,
        commands: &Commands,
        open: &[usize],
        apart: &mut Vec<usize>,
        outcomes: &mut Outcomes,
    ) -> Result<Vec<Part>, Failure> {
        let mut parts: Vec<Part> = Vec::new();
        for at in open.iter().copied() {
            let argv = commands.get(at).unwrap_or_default();
            let node = match route(&argv) {
                Route::Slot(slot) => {
                    let Some(node) = self.owner(slot).await? else {
                        put(outcomes, at, Ok(not_served()));
                        continue;
                    };
                    node
                }
                Route::Any => match parts.first() {
                    Some(part) => part.node.clone(),
                    None => match self.in_turn().await?.into_iter().next() {
                        Some(node) => node,
                        None => return Err(self.servers.faults().unreachable("it has no masters")),
                    },
                },
                Route::First => match self.masters().await?.into_iter().next() {
                    Some(node) => node,
                    None => return Err(self.servers.faults().unreachable("it has no masters")),
                },
                Route::All(_) | Route::Scan => {
                    apart.push(at);
                    continue;
                }
                Route::Crossed => {
                    put(outcomes, at, Ok(crossed()));
                    continue;
                }
            };
            match parts.iter_mut().find(|it| Arc::ptr_eq(&it.node, &node)) {
                Some(part) => part.places.push(at),
                None => parts.push(Part {
                    node,
                    places: vec![at],
                }),
            }
        }
        Ok(parts)
    }

    /// Runs all parts; answers the places of commands that were not sent.
    async fn run_parts(
        &self,
        commands: &Commands,
        parts: &[Part],
        sent: &Sent,
        outcomes: &mut Outcomes,
    ) -> Vec<usize> {
        let runs = parts.iter().map(|part| async {
            let mut plan = Plan::default();
            for at in &part.places {
                plan.push(*at, commands.get(*at).unwrap_or_default());
            }
            let replies = part.node.pipeline(&mut plan, sent).await;
            (plan, replies)
        });
        let mut open = Vec::new();
        for (part, (plan, replies)) in parts.iter().zip(join_all(runs).await) {
            match &replies {
                Err(Failure::NotSent(_)) => open.extend(&part.places),
                Err(_) => self.refresh_soon(),
                Ok(_) => {}
            }
            plan.settle(replies, outcomes);
        }
        open.sort_unstable();
        open
    }

    /// Sends again, one after the other, what was redirected.
    async fn follow_each(
        &self,
        commands: &Commands,
        asked: &[Part],
        sent: &Sent,
        outcomes: &mut Outcomes,
    ) {
        for at in 0..commands.len() {
            let Some(Ok(Reply::Error(text))) = outcomes.get(at) else {
                continue;
            };
            if is_stale(text) {
                self.refresh_soon();
            }
            if !text.starts_with(b"MOVED ") && !text.starts_with(b"ASK ") {
                continue;
            }
            let argv = commands.get(at).unwrap_or_default();
            // A server redirects only what has keys.
            let Route::Slot(slot) = route(&argv) else {
                continue;
            };
            if may_make_up_errors(&argv) {
                let mut asked = asked.iter().rev();
                let Some(part) = asked.find(|part| part.places.binary_search(&at).is_ok()) else {
                    continue;
                };
                match self.confirms(&part.node, slot, text).await {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(failure) => {
                        put(outcomes, at, Err(failure));
                        continue;
                    }
                }
            }
            let outcome = self.one(&argv, text, sent).await;
            put(outcomes, at, outcome);
        }
    }

    /// One command of a pipeline, after it was redirected by `text`.
    async fn one(&self, argv: &[&[u8]], text: &[u8], sent: &Sent) -> Result<Reply, Failure> {
        if Kind::of(argv) != Kind::Blocking {
            return self.run(argv, sent).await;
        }
        // As in the pipeline, it does not wait.
        let to = Redirection::of(text, None).map(|to| self.follow(to));
        let Some((node, false)) = to else {
            return Ok(moving());
        };
        let mut plan = Plan::default();
        plan.push(0, argv.iter().copied().collect());
        let replies = node.pipeline(&mut plan, sent).await;
        let mut outcome = vec![Ok(Reply::Null)];
        plan.settle(replies, &mut outcome);
        outcome.pop().unwrap_or(Ok(Reply::Null))
    }
}

fn put(outcomes: &mut Outcomes, at: usize, outcome: Result<Reply, Failure>) {
    if let Some(place) = outcomes.get_mut(at) {
        *place = outcome;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::backend::redis::address::Host;
    use crate::backend::redis::testing::{Server, dialer};
    use crate::options::Options;

    #[tokio::test]
    async fn what_goes_to_all_runs_though_the_slots_are_lost_meanwhile() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = free.local_addr().unwrap().port();
        drop(free);
        let port = Arc::new(AtomicUsize::new(0));
        let (own, readings) = (port.clone(), AtomicUsize::new(0));
        let server = Server::start("cluster", move |line| {
            let range = |first, last, port| {
                let master = Reply::Array(vec![Reply::bulk("127.0.0.1"), Reply::Int(port)]);
                Reply::Array(vec![Reply::Int(first), Reply::Int(last), master])
            };
            let own = own.load(Ordering::Relaxed) as i64;
            Some(match line {
                // The other master is known, then gone, then nothing is known.
                "CLUSTER SLOTS" => match readings.fetch_add(1, Ordering::Relaxed) {
                    0 => Reply::Array(vec![
                        range(0, 8191, own),
                        range(8192, 16_383, i64::from(dead)),
                    ]),
                    1 => Reply::Array(vec![range(0, 8191, own)]),
                    _ => Reply::error("LOADING it starts"),
                },
                "GET user1000" => Reply::bulk("v"),
                "DBSIZE" => Reply::Int(7),
                _ => Reply::error("ERR"),
            })
        })
        .await;
        let Host::Tcp { port: at, .. } = &server.host else {
            panic!("{}", server.host);
        };
        port.store(usize::from(*at), Ordering::Relaxed);
        let options = Options {
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(5),
            ..Options::default()
        };
        let url = format!("redis-cluster://{}", server.host);
        let cluster = Cluster::new(dialer(&url, &options), vec![server.host.clone()]);
        let all: [&[&[u8]]; 3] = [
            &[b"GET", b"user1000"],
            &[b"SET", b"foo", b"1"],
            &[b"DBSIZE"],
        ];
        let commands: Commands = all.into_iter().collect();
        let outcomes = cluster.run_pipeline(&commands, &Sent::default()).await;
        assert_eq!(outcomes[0].as_ref().ok(), Some(&Reply::bulk("v")));
        assert!(
            matches!(outcomes[1], Err(Failure::NotSent(_))),
            "{outcomes:?}"
        );
        assert_eq!(outcomes[2].as_ref().ok(), Some(&Reply::Int(7)));
    }
}
