//! The master, as sentinels know it.
//!
//! All sentinels are asked at once, for each connection anew: one that is dead or
//! cut off holds up nobody. Where they disagree, what most say is tried first.
//! The server found has to call itself a master, so that one that was demoted a
//! moment ago is not written to.

use std::sync::Arc;
use std::time::Duration;

use sangam_engine::Reply;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::address::Host;
use super::connect::{Dialer, Part};
use super::fault::Faults;
use super::link::Link;
use super::stream::Socket;
use crate::backend::{Failure, Sent};

/// How long the others are waited for once one has answered.
const MORE: Duration = Duration::from_millis(100);

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
        let mut votes: Vec<(Host, usize)> = Vec::new();
        let mut unknown = false;
        let mut failure = None;
        let mut until = deadline;
        while let Ok(Some(answer)) = timeout_at(until, asking.join_next()).await {
            match answer {
                Ok(Ok(Some(host))) => {
                    until = deadline.min(Instant::now() + MORE);
                    match votes.iter_mut().find(|(it, _)| *it == host) {
                        Some((_, count)) => *count += 1,
                        None => votes.push((host, 1)),
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
            votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            return Ok(votes.into_iter().map(|(host, _)| host).collect());
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

/// One sentinel's answer; `None` where it does not know the master.
async fn ask(dialer: &Dialer, host: &Host, master: &str) -> Result<Option<Host>, Failure> {
    let socket = dialer.connect(host, Part::Sentinel).await?;
    let link = Link::over(socket, dialer.place(host), None).await?;
    let argv: [&[u8]; 3] = [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", master.as_bytes()];
    let faults = dialer.faults(host);
    match link.call(&argv, &Sent::default()).await {
        Ok(Reply::Null | Reply::NullArray) => Ok(None),
        Ok(Reply::Array(parts)) => match parts.as_slice() {
            [Reply::Bulk(name), Reply::Bulk(port)] => {
                let name = String::from_utf8_lossy(name);
                let port = std::str::from_utf8(port)
                    .ok()
                    .and_then(|it| it.parse().ok());
                Ok(port.map(|port| Host::tcp(&name, port)))
            }
            _ => Err(faults.unreachable("an answer that names no master")),
        },
        Ok(Reply::Error(text)) => Err(faults.refused("SENTINEL", &text)),
        Ok(_) => Err(faults.unreachable("an answer that names no master")),
        // Nothing of the caller's was sent.
        Err(Failure::Lost(why)) => Err(Failure::NotSent(why)),
        Err(other) => Err(other),
    }
}
