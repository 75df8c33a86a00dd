//! The master, as sentinels know it.
//!
//! All sentinels are asked at once, for each connection anew: one that is dead or
//! cut off holds up nobody. Where they disagree, the newest configuration is
//! tried first, then what most say. The server found has to call itself a master.
//!
//! A demoted master does not always say so at once, and what is written to it
//! then is lost. So one sentinel at a time is listened to: when it tells of
//! another master, connections to the old one are left. What is left to chance is
//! the time between the decision and its news, which no client can close;
//! `min-replicas-to-write` on the servers bounds what it can cost.

use std::cmp::Reverse;
use std::sync::{Arc, Weak};
use std::time::Duration;

use sangam_engine::Reply;
use sangam_engine::pubsub::Topic;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::address::Host;
use super::connect::{Dialer, Part};
use super::fault::Faults;
use super::link::Link;
use super::listener::Listening;
use super::node::{Connector, Held, Way};
use super::stream::Socket;
use crate::backend::{Failure, Listener as _, Sent};

/// How long the others are waited for once one has answered.
const MORE: Duration = Duration::from_millis(100);
/// How often it is looked whether the store still exists, and the pause before
/// another sentinel is listened to.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Sentinels {
    pub(super) hosts: Vec<Host>,
    pub(super) master: String,
    pub(super) dialer: Arc<Dialer>,
}

impl Sentinels {
    /// Words about the sentinels as a whole.
    pub(super) fn faults(&self, dialer: &Dialer) -> Faults {
        let hosts: Vec<_> = self.hosts.iter().map(Host::to_string).collect();
        let place = format!("redis+sentinel://{}/{}", hosts.join(","), self.master);
        let first = self.hosts.first().cloned();
        Faults {
            place,
            ..dialer.faults(&first.unwrap_or_else(|| Host::tcp("", 0)))
        }
    }

    /// A connection to the master, within the time for one.
    pub(super) async fn connect(
        &self,
        dialer: &Dialer,
    ) -> Result<(Box<dyn Socket>, Host), Failure> {
        let limit = dialer.connect_timeout;
        let deadline = Instant::now() + limit;
        let hosts = self.find(dialer, deadline).await?;
        let mut last = None;
        for host in hosts {
            let trying = dialer.connect(&host, Part::Master);
            match timeout_at(deadline, trying).await {
                Ok(Ok(socket)) => return Ok((socket, host)),
                Ok(Err(failure)) => last = Some(failure),
                Err(_) => break,
            }
        }
        let late = format!("no master answered within {} ms", limit.as_millis());
        Err(last.unwrap_or_else(|| self.faults(dialer).unreachable(late)))
    }

    /// Where the sentinels say that the master is; what most say comes first.
    async fn find(&self, dialer: &Dialer, deadline: Instant) -> Result<Vec<Host>, Failure> {
        let mut asking = JoinSet::new();
        for host in &self.hosts {
            let (dialer, host, master) = (self.dialer.clone(), host.clone(), self.master.clone());
            asking.spawn(async move { ask(&dialer, &host, &master).await });
        }
        let mut votes: Vec<(Host, u64, usize)> = Vec::new();
        let mut unknown = false;
        let mut failure = None;
        let mut until = deadline;
        while let Ok(Some(answer)) = timeout_at(until, asking.join_next()).await {
            match answer {
                Ok(Ok(Some((host, epoch)))) => {
                    until = deadline.min(Instant::now() + MORE);
                    match votes.iter_mut().find(|(it, ..)| *it == host) {
                        Some((_, newest, count)) => {
                            *newest = epoch.max(*newest);
                            *count += 1;
                        }
                        None => votes.push((host, epoch, 1)),
                    }
                }
                Ok(Ok(None)) => unknown = true,
                Ok(Err(setting @ Failure::Setting(_))) => failure = Some(setting),
                Ok(Err(other)) => {
                    failure.get_or_insert(other);
                }
                Err(_) => {}
            }
        }
        let faults = self.faults(dialer);
        if !votes.is_empty() {
            votes.sort_by_key(|(_, epoch, count)| Reverse((*epoch, *count)));
            return Ok(votes.into_iter().map(|(host, ..)| host).collect());
        }
        if unknown {
            return Err(faults.setting(format!(
                "the sentinels know no master named `{}`",
                self.master
            )));
        }
        Err(failure.unwrap_or_else(|| faults.unreachable("no sentinel answers")))
    }
}

/// One sentinel's answer: where the master is, and the number of the
/// configuration that says so; `None` where it does not know the master.
async fn ask(dialer: &Dialer, host: &Host, master: &str) -> Result<Option<(Host, u64)>, Failure> {
    let socket = dialer.connect(host, Part::Sentinel).await?;
    let link = Link::over(socket, dialer.place(host), None).await?;
    let name = master.as_bytes();
    let asked: [&[&[u8]]; 2] = [
        &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name],
        &[b"SENTINEL", b"MASTER", name],
    ];
    let faults = dialer.faults(host);
    let replies = link.pipeline(asked.iter(), &Sent::default()).await;
    let mut replies = replies
        .map_err(|failure| match failure {
            // Nothing of the caller's was sent.
            Failure::Lost(why) => Failure::NotSent(why),
            other => other,
        })?
        .into_iter();
    let epoch = |reply: Option<Reply>| reply.and_then(|reply| config_epoch(&reply));
    match replies.next() {
        Some(Reply::Null | Reply::NullArray) => Ok(None),
        Some(Reply::Array(parts)) => match parts.as_slice() {
            [Reply::Bulk(name), Reply::Bulk(port)] => {
                let name = String::from_utf8_lossy(name);
                let port = number(port).and_then(|port| u16::try_from(port).ok());
                let epoch = epoch(replies.next()).unwrap_or(0);
                Ok(port.map(|port| (Host::tcp(&name, port), epoch)))
            }
            _ => Err(faults.unreachable("an answer that names no master")),
        },
        Some(Reply::Error(text)) => Err(faults.refused("SENTINEL", &text)),
        _ => Err(faults.unreachable("an answer that names no master")),
    }
}

/// The field `config-epoch` of SENTINEL MASTER, a map or a flat array.
fn config_epoch(reply: &Reply) -> Option<u64> {
    let is_it = |name: &Reply| *name == Reply::bulk("config-epoch");
    let value = match reply {
        Reply::Map(pairs) => pairs.iter().find(|(name, _)| is_it(name)).map(|(_, it)| it),
        Reply::Array(parts) => {
            let at = parts.iter().position(is_it)?;
            parts.get(at + 1)
        }
        _ => None,
    };
    match value {
        Some(Reply::Bulk(text)) => number(text),
        _ => None,
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Listens to the sentinels as long as the store exists, and leaves a master
/// that is none any more.
pub(super) async fn watch(held: Weak<Held>, connector: Arc<Connector>) {
    let Way::Sentinels(sentinels) = &connector.way else {
        return;
    };
    loop {
        for host in &sentinels.hosts {
            if held.strong_count() == 0 {
                return;
            }
            // Its end is no news: the next one is listened to.
            let _ = listen(sentinels, host, &held, &connector.dialer).await;
        }
        sleep(LOOK).await;
    }
}

/// Listens to one sentinel until it is gone, or the store.
async fn listen(
    sentinels: &Sentinels,
    host: &Host,
    held: &Weak<Held>,
    servers: &Dialer,
) -> Result<(), Failure> {
    let dialer = &sentinels.dialer;
    let socket = dialer.connect(host, Part::Sentinel).await?;
    let mut news = Listening::new(socket, dialer.place(host), dialer.command_timeout);
    let limit = dialer.command_timeout;
    let subscribing = news.subscribe(Topic::Channel, b"+switch-master");
    if !matches!(timeout(limit, subscribing).await, Ok(Ok(()))) {
        return Ok(());
    }
    // What happened before it listened.
    let limit = dialer.connect_timeout + dialer.command_timeout;
    let Ok(asked) = timeout(limit, ask(dialer, host, &sentinels.master)).await else {
        return Ok(());
    };
    if let Some((now, _)) = asked?
        && let Some(held) = held.upgrade()
        && held
            .place()
            .is_some_and(|place| place != servers.place(&now))
    {
        held.leave();
    }
    loop {
        let message = match timeout(LOOK, news.next()).await {
            Ok(message) => message?,
            Err(_) if held.strong_count() == 0 => return Ok(()),
            Err(_) => continue,
        };
        // `name old-host old-port new-host new-port`
        let name = message.payload.split(|byte| *byte == b' ').next();
        if name == Some(sentinels.master.as_bytes())
            && let Some(held) = held.upgrade()
        {
            held.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::redis::testing::{Server, dialer};
    use crate::options::Options;

    #[tokio::test]
    async fn a_sentinel_that_says_nothing_more_is_left() {
        let server = Server::start("sentinel", |line| {
            // It freezes after it was subscribed to.
            let (command, name) = line.split_once(' ')?;
            (command == "SUBSCRIBE").then(|| {
                Reply::Array(vec![
                    Reply::bulk("subscribe"),
                    Reply::bulk(name),
                    Reply::Int(1),
                ])
            })
        })
        .await;
        let options = Options {
            connect_timeout: Duration::from_millis(500),
            command_timeout: Duration::from_millis(500),
            ..Options::default()
        };
        let url = format!("redis+sentinel://{}/m", server.host);
        let servers = dialer(&url, &options);
        let sentinels = Sentinels {
            hosts: vec![server.host.clone()],
            master: "m".to_owned(),
            dialer: Arc::new(servers.clone()),
        };
        let held = Arc::new(Held::default());
        let held = Arc::downgrade(&held);
        let listening = listen(&sentinels, &server.host, &held, &servers);
        let ended = timeout(Duration::from_secs(20), listening).await;
        assert!(ended.is_ok(), "it is still listened to");
    }
}
