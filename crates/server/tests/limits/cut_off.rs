//! Limits while the store cannot be asked: the policy rules, and says so.

use std::time::Duration;

use sangam::limit::{Algorithm, Limiter, Policy, Ruled};
use sangam_rig::proxy::{Cut, Fault, Whom};
use sangam_rig::wait::until;
use sangam_store::Status;

use crate::line::{self, Line, Net};
use crate::{hourly, left, limit};

async fn policies_rule(line: Line<impl Net>) {
    let rule = hourly(Algorithm::SlidingWindow, 3);
    let limits = [limit("user", rule, b"ann"), limit("all", rule, b"all")];
    let limiter = |policy| Limiter::new(line.store.clone()).with_policy(policy);
    let (open, closed) = (limiter(Policy::Open), limiter(Policy::Closed));
    // Every script is known, wherever the keys are.
    for at in 0..16 {
        let other = format!("other{at}");
        let others = [limit("user", rule, other.as_bytes()), limits[1]];
        assert!(open.peek(&others, 1).await.unwrap().allowed);
    }
    let first = open.check(&limits, 1).await.unwrap();
    assert_eq!((first.allowed, first.ruled), (true, Ruled::Store));
    for fault in [None, Some(Fault::DropReplies)] {
        for proxy in line.net.proxies() {
            match fault {
                Some(fault) => proxy.fault(fault, Whom::All),
                None => {
                    proxy.stop_listening().await;
                    proxy.cut(Cut::Reset);
                }
            }
        }
        for _ in 0..4 {
            let others = [limit("cut", rule, b"ann"), limit("cut", rule, b"all")];
            let decision = open.check(&others, 1).await.unwrap();
            assert_eq!((decision.allowed, decision.ruled), (true, Ruled::Open));
            assert!(decision.ruled.is_degraded() && decision.outcomes.is_empty());
            let decision = closed.check(&others, 1).await.unwrap();
            assert_eq!((decision.allowed, decision.ruled), (false, Ruled::Closed));
            assert_eq!(decision.retry_after, None);
        }
        assert!(
            open.refund(&limits[0], 1).await.is_err(),
            "changes do not guess"
        );
        for proxy in line.net.proxies() {
            proxy.clear();
            if fault.is_none() {
                proxy.listen_again().await;
            }
        }
        until("the store to be up", async || match line.store.state() {
            state if state.status == Status::Up => Ok(()),
            state => Err(format!("{state:?}")),
        })
        .await;
        let again = until("the store to rule", async || {
            match closed.peek(&limits, 1).await.unwrap() {
                decision if decision.ruled == Ruled::Store => Ok(decision),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        assert!(again.allowed && again.retry_after == Some(Duration::ZERO));
    }
    left::nothing_stays_for_ever(&line.store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_redis() {
    policies_rule(line::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_cluster() {
    policies_rule(line::cluster().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_gateway() {
    policies_rule(line::rest().await).await;
}
