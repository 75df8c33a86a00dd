//! One server, or the master that sentinels name.

use std::time::Instant;

use sangam_engine::Reply;
use sangam_engine::clock::{Clock as _, SystemClock};

use super::node::Node;
use super::plan::{Plan, admitted, all_admitted, outcomes};
use crate::backend::{ClockSample, Coming, Failure, Listener, Remote, Sent};
use crate::commands::Commands;

pub(super) struct Single(pub(super) Node);

impl Remote for Single {
    fn call<'a>(
        &'a self,
        argv: &'a [&'a [u8]],
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(async move {
            admitted(argv)?;
            self.0.call(argv, sent).await
        })
    }

    fn call_blocking<'a>(
        &'a self,
        argv: &'a [&'a [u8]],
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(async move {
            admitted(argv)?;
            self.0.call_blocking(argv, sent).await
        })
    }

    fn pipeline<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Vec<Result<Reply, Failure>>> {
        Box::pin(async move {
            let mut outcomes = outcomes(commands);
            let mut plan = Plan::default();
            for (index, argv) in commands.iter().enumerate() {
                if outcomes.get(index).is_some_and(Result::is_ok) {
                    plan.push(index, argv);
                }
            }
            let replies = self.0.pipeline(&mut plan, sent).await;
            plan.settle(replies, &mut outcomes);
            outcomes
        })
    }

    fn transaction<'a>(
        &'a self,
        commands: &'a Commands,
        sent: &'a Sent,
    ) -> Coming<'a, Result<Reply, Failure>> {
        Box::pin(async move {
            all_admitted(commands)?;
            self.0.transaction(commands, sent).await
        })
    }

    fn listen(&self) -> Coming<'_, Result<Box<dyn Listener>, Failure>> {
        Box::pin(async move {
            let listening = self.0.listen().await?;
            Ok(Box::new(listening) as Box<dyn Listener>)
        })
    }

    fn ping(&self) -> Coming<'_, Result<(), Failure>> {
        Box::pin(self.0.ping())
    }

    fn clock(&self) -> Coming<'_, Result<ClockSample, Failure>> {
        Box::pin(clock(&self.0))
    }
}

/// Asks a server for its time. It read its clock between our two readings.
pub(super) async fn clock(node: &Node) -> Result<ClockSample, Failure> {
    // The connection is made before, so that its time does not blur the bounds.
    node.shared().await?;
    let before = SystemClock::default().now_micros() as i64;
    let began = Instant::now();
    let reply = node.call(&[b"TIME"], &Sent::default()).await?;
    let took = began.elapsed().as_micros() as i64;
    let server = match &reply {
        Reply::Array(parts) => match parts.as_slice() {
            [Reply::Bulk(seconds), Reply::Bulk(micros)] => number(seconds)
                .zip(number(micros))
                .and_then(|(seconds, micros)| seconds.checked_mul(1_000_000)?.checked_add(micros)),
            _ => None,
        },
        Reply::Error(text) => return Err(node.faults().refused("TIME", text)),
        _ => None,
    };
    let Some(server) = server else {
        return Err(Failure::Unsupported("TIME answers no time".to_owned()));
    };
    Ok(ClockSample {
        min: server - (before + took),
        max: server - before,
    })
}

fn number(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
