//! Every fault on every line: nobody waits beyond the time-outs, nobody gets
//! another's reply, no write is applied twice, the store says that it is down
//! or slow, and all is well when the fault is over.

mod failover;
mod load;
mod messages;

use std::time::Duration;

use sangam_rig::proxy::{Answer, Cut, Direction, Fault, Proxy, Quota, Whom};
use sangam_store::Status;

use crate::line::{self, Line, Net};
use load::Load;

/// What goes wrong, and how the store has to call it.
struct Trouble {
    kind: Kind,
    status: Expect,
}

enum Kind {
    /// Nobody listens any more.
    ClosedPort,
    /// A fault for connections that are made while it lasts; those that are
    /// there are cut.
    OfNew(Fault),
    /// A fault for all.
    OfAll(Fault),
    /// All connections are reset, this often.
    Resets(usize),
    /// Requests are answered in the server's place: all, or so many percent.
    Answers(Answer, u8),
}

enum Expect {
    Status(Status),
    /// The fault strikes this often, whatever the status; calls may fail, unless
    /// the store can repeat them safely.
    Strikes(u64),
    /// No call fails.
    Nothing,
}

const DOWN: Expect = Expect::Status(Status::Down);

fn delay(direction: Direction, least: u64, most: u64) -> Fault {
    let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
    Fault::Delay {
        direction,
        least,
        most,
    }
}

fn closed_port() -> Trouble {
    let kind = Kind::ClosedPort;
    Trouble { kind, status: DOWN }
}

fn refused_connections() -> Trouble {
    let kind = Kind::OfNew(Fault::Refuse);
    Trouble { kind, status: DOWN }
}

fn black_hole() -> Trouble {
    let kind = Kind::OfNew(Fault::BlackHole);
    Trouble { kind, status: DOWN }
}

fn half_open() -> Trouble {
    let kind = Kind::OfAll(Fault::HalfOpen);
    Trouble { kind, status: DOWN }
}

fn stall() -> Trouble {
    let kind = Kind::OfAll(Fault::Stall);
    Trouble { kind, status: DOWN }
}

fn lost_replies() -> Trouble {
    let kind = Kind::OfAll(Fault::DropReplies);
    Trouble { kind, status: DOWN }
}

fn replies_cut_at_once() -> Trouble {
    let kind = Kind::OfAll(Fault::CutAfterReply(3));
    Trouble { kind, status: DOWN }
}

fn requests_cut_at_once() -> Trouble {
    let kind = Kind::OfAll(Fault::CutAfterRequest(10));
    Trouble { kind, status: DOWN }
}

fn replies_cut_now_and_then() -> Trouble {
    Trouble {
        kind: Kind::OfAll(Fault::CutAfterReply(2003)),
        status: Expect::Strikes(10),
    }
}

fn requests_cut_now_and_then() -> Trouble {
    Trouble {
        kind: Kind::OfAll(Fault::CutAfterRequest(2003)),
        status: Expect::Strikes(10),
    }
}

fn resets() -> Trouble {
    Trouble {
        kind: Kind::Resets(20),
        status: Expect::Strikes(10),
    }
}

fn slow_replies() -> Trouble {
    Trouble {
        kind: Kind::OfAll(delay(Direction::Reply, 250, 250)),
        status: Expect::Status(Status::Slow),
    }
}

fn jitter() -> Trouble {
    Trouble {
        kind: Kind::OfAll(delay(Direction::Request, 0, 20)),
        status: Expect::Nothing,
    }
}

fn thin_line() -> Trouble {
    let every = Duration::from_millis(2);
    let (direction, bytes) = (Direction::Reply, 64);
    Trouble {
        kind: Kind::OfAll(Fault::Drip {
            direction,
            bytes,
            every,
        }),
        status: Expect::Nothing,
    }
}

fn overtaking() -> Trouble {
    Trouble {
        kind: Kind::OfAll(Fault::Overtake),
        status: Expect::Strikes(1),
    }
}

fn too_many_requests() -> Trouble {
    answers(Answer::TooManyRequests { retry_after: 1 })
}

fn internal_errors() -> Trouble {
    answers(Answer::InternalError)
}

fn bad_gateway() -> Trouble {
    answers(Answer::BadGateway)
}

fn used_up_quota() -> Trouble {
    Trouble {
        kind: Kind::Answers(Answer::Quota(Quota::Month), 100),
        status: Expect::Strikes(10),
    }
}

fn pages() -> Trouble {
    answers(Answer::Page)
}

fn revoked_token() -> Trouble {
    answers(Answer::Unauthorized)
}

fn answers(answer: Answer) -> Trouble {
    Trouble {
        kind: Kind::Answers(answer, 100),
        status: DOWN,
    }
}

fn bad_gateway_after_it_ran() -> Trouble {
    Trouble {
        kind: Kind::Answers(Answer::BadGatewayAfterRun, 20),
        status: Expect::Strikes(10),
    }
}

fn resets_after_it_ran() -> Trouble {
    Trouble {
        kind: Kind::Answers(Answer::ResetAfterRun, 20),
        status: Expect::Strikes(10),
    }
}

impl Trouble {
    async fn begin(&self, line: &Line<impl Net>) {
        if let (Kind::Answers(answer, percent), Some(proxy)) = (&self.kind, line.net.http()) {
            let percent = *percent;
            proxy.answer(*answer, Whom::Chance { percent, seed: 1 });
        }
        for proxy in line.net.proxies() {
            match self.kind {
                Kind::ClosedPort => {
                    proxy.stop_listening().await;
                    proxy.cut(Cut::Reset);
                }
                Kind::OfNew(fault) => {
                    proxy.fault(fault, Whom::All);
                    proxy.cut(Cut::Reset);
                }
                Kind::OfAll(fault) => proxy.fault(fault, Whom::All),
                Kind::Resets(_) | Kind::Answers(..) => {}
            }
        }
    }

    async fn last(&self, line: &Line<impl Net>, load: &Load) {
        let (before, calls, struck) = (load.tally.failed(), load.tally.calls(), strikes(line));
        match &self.status {
            Expect::Status(wanted) => {
                load.until(wanted.as_str(), |_| line.store.state().status == *wanted)
                    .await;
            }
            Expect::Strikes(_) if let Kind::Resets(count) = self.kind => {
                for _ in 0..count {
                    for proxy in line.net.proxies() {
                        proxy.cut(Cut::Reset);
                    }
                    // The next one strikes connections that are at work again.
                    load.until_all_is_well(2).await;
                }
                let accepted = |proxy: &&Proxy| proxy.counters().accepted as usize;
                let proxies = line.net.proxies();
                assert!(proxies.iter().map(accepted).sum::<usize>() >= count);
            }
            Expect::Strikes(count) => {
                load.until("strikes", |_| strikes(line) >= struck + count)
                    .await;
                load.until("calls", |tally| tally.calls() > calls + 100)
                    .await;
            }
            Expect::Nothing => {
                load.until_all_is_well(20).await;
                assert_eq!(load.tally.failed(), before);
            }
        }
    }

    async fn end(&self, line: &Line<impl Net>) {
        if let Some(proxy) = line.net.http() {
            proxy.clear();
        }
        for proxy in line.net.proxies() {
            proxy.clear();
            if matches!(self.kind, Kind::ClosedPort) {
                proxy.listen_again().await;
            }
        }
    }
}

/// How often faults have struck.
fn strikes(line: &Line<impl Net>) -> u64 {
    if let Some(proxy) = line.net.http() {
        return proxy.counters().faults;
    }
    let proxies = line.net.proxies();
    proxies.iter().map(|proxy| proxy.counters().faults).sum()
}

/// Callers at work before, during and after.
async fn endure(line: Line<impl Net>, trouble: Trouble) {
    let load = Load::start(&line.store, line::LIMIT);
    load.until_all_is_well(10).await;
    trouble.begin(&line).await;
    trouble.last(&line, &load).await;
    trouble.end(&line).await;
    load.until("the store to be up", |_| {
        line.store.state().status == Status::Up
    })
    .await;
    load.until_all_is_well(10).await;
    load.settle().await;
}

macro_rules! endured {
    ($($line:ident $([$($more:ident)+])?)+) => {
        $(mod $line {
            endured! { $line:
                $($($more)+)?
                closed_port
                refused_connections
                black_hole
                half_open
                stall
                lost_replies
                replies_cut_at_once
                requests_cut_at_once
                replies_cut_now_and_then
                requests_cut_now_and_then
                resets
                slow_replies
                jitter
                thin_line
            }
        })+
    };
    ($line:ident: $($trouble:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $trouble() {
                super::endure(crate::line::$line().await, super::$trouble()).await;
            }
        )+
    };
}

endured! {
    redis
    cluster
    rest [
        overtaking
        too_many_requests
        internal_errors
        bad_gateway
        bad_gateway_after_it_ran
        used_up_quota
        pages
        revoked_token
        resets_after_it_ran
    ]
}
