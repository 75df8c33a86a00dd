//! A slot: one connection, and the requests that go over it one by one.
//!
//! What a slot promises its jobs: nothing is written twice unless the endpoint
//! has shown that it runs a request with one id once; a request that was not
//! written is no failure as long as another connection can be made; and no
//! answer, however slowly it comes, holds the slot longer than a call may take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::HeaderValue;
use sangam_engine::Reply;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Break, Connection};
use super::queue::Job;
use super::reply::{self, Outcomes, Verdict};
use super::request::{Call, Items, Work};
use super::request_id;
use super::shared::Shared;
use crate::backend::Failure;
use crate::error::Why;
use crate::resilience::Backoff;

pub(super) struct Slot {
    shared: Arc<Shared>,
    number: usize,
    connection: Option<Connection>,
}

/// What became of a request.
enum Asked {
    /// An outcome for each command.
    Outcomes(Outcomes),
    /// The connection was gone before anything was written.
    Unwritten,
    /// Nothing was run; it may be asked again after so long.
    Later(Option<Duration>, Why),
    /// The replies are too many bytes, together or alone; some commands may have
    /// run.
    Apart(TooLarge),
    /// All commands fail alike.
    Failed(Failure),
}

/// Whose limit an answer is above.
enum TooLarge {
    Theirs(Why),
    Ours(Why),
}

/// Runs a slot, and another in its place where it panics: the calls that it had
/// taken have no outcome then, all others go on.
pub(super) async fn keep<Running>(shared: Arc<Shared>, number: usize, run: impl Fn(Slot) -> Running)
where
    Running: Future<Output = ()> + Send + 'static,
{
    // Ends with this future.
    let mut running = JoinSet::new();
    loop {
        running.spawn(run(Slot::new(shared.clone(), number)));
        match running.join_next().await {
            Some(Err(error)) if error.is_panic() => {}
            _ => return,
        }
        tracing::error!(store = %shared.endpoint.place, "slot {number} has panicked");
        shared.queue.abandoned(number);
        sleep(shared.options.backoff_min).await;
    }
}

impl Slot {
    pub(super) fn new(shared: Arc<Shared>, number: usize) -> Self {
        Slot {
            shared,
            number,
            connection: None,
        }
    }

    /// Serves jobs until the slot is dropped.
    pub(super) async fn run(mut self) {
        let shortest = self.shared.options.backoff_min / 4;
        let waits = || Backoff::new(shortest, shortest * 8);
        let mut backoff = waits();
        loop {
            self.until_work().await;
            self.shared.until_resumed().await;
            if self.connection.is_none() {
                if let Err(failure) = self.connect().await {
                    self.shared.queue.fail(self.number, &failure);
                    // Others may be able to; this one does not try all the time.
                    sleep(backoff.wait()).await;
                    continue;
                }
                backoff = waits();
            }
            let jobs = self.shared.queue.take(self.number);
            if !jobs.is_empty() {
                self.serve(jobs).await;
            }
        }
    }

    async fn until_work(&mut self) {
        let (queue, number) = (&self.shared.queue, self.number);
        while let Some(connection) = &mut self.connection {
            tokio::select! {
                biased;
                () = connection.until_closed() => self.connection = None,
                () = queue.work_for(number, true) => return,
            }
        }
        queue.work_for(number, false).await;
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        self.connection = Some(self.shared.endpoint.connect().await?);
        self.shared.queue.connected(self.number, true);
        Ok(())
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.shared.queue.connected(self.number, false);
    }

    /// Sends jobs that share a request, or one with requests of its own.
    async fn serve(&mut self, jobs: Vec<Job>) {
        let calls = if let Some(Work::Calls(calls)) = jobs.first().map(|job| &job.work) {
            calls.clone()
        } else {
            let items = jobs.iter().filter_map(|job| match &job.work {
                Work::Items(items) => Some(items),
                Work::Calls(_) => None,
            });
            vec![Items::into_call(&items.collect::<Vec<_>>())]
        };
        let mut outcomes = Outcomes::new();
        let mut calls = calls.iter();
        let mut is_first = true;
        while let Some(call) = calls.next() {
            if !is_first && jobs.iter().all(Job::is_gone) {
                break;
            }
            let mut asked = self.ask(call, &jobs).await;
            while !is_first && matches!(asked, Asked::Unwritten) {
                asked = match self.connect().await {
                    Ok(()) => self.ask(call, &jobs).await,
                    Err(failure) => Asked::Failed(failure),
                };
            }
            let failure = match asked {
                Asked::Outcomes(some) => {
                    outcomes.extend(some);
                    is_first = false;
                    continue;
                }
                Asked::Unwritten => return self.shared.queue.put_back(self.number, jobs),
                Asked::Later(Some(after), why) if is_first => return self.later(after, &why, jobs),
                Asked::Later(_, why) => Failure::NotSent(why),
                Asked::Apart(_) if jobs.len() > 1 => return self.apart(asked, jobs),
                Asked::Apart(TooLarge::Ours(why)) if !call.writes => {
                    Failure::Unsupported(why.to_string())
                }
                Asked::Apart(TooLarge::Ours(why) | TooLarge::Theirs(why)) => Failure::Lost(why),
                Asked::Failed(failure) => failure,
            };
            let fail = |call: &Call, failure: &Failure| {
                let failure = failure.clone();
                std::iter::repeat_n(Err(failure), call.form.outcomes())
            };
            outcomes.extend(fail(call, &failure));
            // What would have followed is not sent: it was meant to come after.
            let failure = match failure {
                Failure::Lost(why) => Failure::NotSent(why),
                other => other,
            };
            outcomes.extend(calls.by_ref().flat_map(|call| fail(call, &failure)));
        }
        let mut outcomes = outcomes.into_iter();
        self.shared.queue.finish(jobs, |job| {
            let count = job.outcomes();
            outcomes.by_ref().take(count).collect()
        });
    }

    /// Keeps jobs for when the endpoint wants to be asked again, if they can wait.
    fn later(&self, after: Duration, why: &Why, jobs: Vec<Job>) {
        // Who says "now" has refused a moment ago; who says "in an age" may mean a
        // moment that no clock tells.
        let then = Instant::now().checked_add(after.max(self.shared.options.backoff_min));
        let patience = self.shared.options.command_timeout;
        let (patient, late): (Vec<_>, Vec<_>) = jobs
            .into_iter()
            .partition(|job| then.is_some_and(|then| then < job.made + patience));
        if let Some(then) = then.filter(|_| !patient.is_empty()) {
            self.shared.pause_until(then);
        }
        self.shared.queue.put_back(self.number, patient);
        self.shared.queue.finish(late, |job| {
            let failure = Failure::NotSent(why.clone());
            std::iter::repeat_n(Err(failure), job.outcomes()).collect()
        });
    }

    /// Sends the reads again, each by itself; what may have written is lost.
    fn apart(&self, asked: Asked, jobs: Vec<Job>) {
        let Asked::Apart(TooLarge::Ours(why) | TooLarge::Theirs(why)) = asked else {
            return;
        };
        let (lost, mut reads): (Vec<_>, Vec<_>) = jobs.into_iter().partition(Job::writes);
        for job in &mut reads {
            job.alone = true;
        }
        self.shared.queue.put_back(self.number, reads);
        self.shared.queue.finish(lost, |job| {
            let failure = Failure::Lost(why.clone());
            std::iter::repeat_n(Err(failure), job.outcomes()).collect()
        });
    }

    /// Sends a request until it is known what became of it, or nothing more can
    /// be learned.
    async fn ask(&mut self, call: &Call, jobs: &[Job]) -> Asked {
        let options = &self.shared.options;
        let patience = options.command_timeout;
        let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
        let greets = jobs.iter().any(|job| job.greets);
        let last = jobs.iter().map(|job| job.made).max();
        let until = last.unwrap_or_else(Instant::now) + patience;
        let mut id = call.writes.then(|| self.shared.new_id()).flatten();
        let mut renewed = false;
        // Why an attempt was lost.
        let mut lost: Option<Why> = None;
        loop {
            let repeats = lost.is_some();
            let attempt = self.attempt(call, id.as_ref(), greets, repeats).await;
            let why = match (attempt, lost.take()) {
                (Err(asked), None) => return asked,
                // An attempt that was not written tells nothing of the one before.
                (Err(Asked::Unwritten | Asked::Failed(Failure::NotSent(_))), Some(why)) => why,
                (Err(asked @ Asked::Failed(Failure::Lost(_))), Some(_)) => return asked,
                (Err(_), Some(why)) => return Asked::Failed(Failure::Lost(why)),
                (Ok(Verdict::Replies(outcomes)), before) => {
                    if before.is_none() && !renewed && is_off(&outcomes) {
                        // The answer has brought the server's time.
                        renewed = true;
                        id = self.shared.new_id();
                        continue;
                    }
                    return Asked::Outcomes(match before {
                        None => outcomes,
                        Some(why) => judged(outcomes, &why),
                    });
                }
                (Ok(Verdict::Apart(why)), _) => return Asked::Apart(TooLarge::Theirs(why)),
                (Ok(Verdict::Later(after, why)), None) => return Asked::Later(after, why),
                (Ok(Verdict::Refused(failure)), None) => return Asked::Failed(failure),
                (Ok(Verdict::Refused(_)), Some(why)) => {
                    return Asked::Failed(Failure::Lost(why));
                }
                (Ok(Verdict::Later(_, _)), Some(why)) | (Ok(Verdict::Unknown(why)), _) => why,
            };
            let wait = backoff.wait();
            let in_time = Instant::now() + wait < until;
            let wanted = jobs.iter().any(|job| !job.is_gone());
            if id.is_none() || !self.shared.honours_ids() || !in_time || !wanted {
                return Asked::Failed(Failure::Lost(why));
            }
            lost = Some(why);
            sleep(wait).await;
        }
    }

    /// Sends a request once. An error of `Unwritten` leaves no doubt; any other
    /// that is no verdict may have left.
    async fn attempt(
        &mut self,
        call: &Call,
        id: Option<&HeaderValue>,
        greets: bool,
        repeats: bool,
    ) -> Result<Verdict, Asked> {
        if self.connection.is_none() {
            self.connect().await.map_err(Asked::Failed)?;
        }
        let shared = self.shared.clone();
        let Some(connection) = &mut self.connection else {
            return Err(Asked::Unwritten);
        };
        let request = shared
            .request(call, id)
            .map_err(|error| Asked::Failed(Failure::Unsupported(error)))?;
        let was_used = connection.used;
        let left = shared.leaves();
        let patience = shared.options.command_timeout;
        let limit = shared.options.rest_reply_max;
        let outcome = timeout(patience, connection.exchange(request, limit)).await;
        let endpoint = &shared.endpoint;
        let broken = match outcome {
            Ok(Ok(answer)) => {
                shared.saw(&answer, call, left);
                if greets && answer.body.starts_with(b"{\"result\"") && shared.set_json_only() {
                    // It knows no RESP2: asked again, it may know base64.
                    return Box::pin(self.attempt(call, id, greets, repeats)).await;
                }
                let honoured = request_id::is_honoured(id, &answer.headers);
                let verdict = reply::read(&answer, call, honoured, endpoint, greets);
                // What a proxy says in its place shows nothing of the endpoint.
                let is_its_own = matches!(verdict, Verdict::Replies(_) | Verdict::Apart(_));
                if id.is_some() && (honoured || is_its_own) {
                    shared.set_honours_ids(honoured);
                    if repeats && !honoured {
                        // It may have been applied by either attempt, or by both.
                        let why = endpoint.broken("a repeat met a server that knows no ids");
                        return Err(Asked::Failed(Failure::Lost(why)));
                    }
                }
                return Ok(verdict);
            }
            Ok(Err(broken)) => broken,
            Err(_) => {
                self.disconnect();
                return Err(Asked::Failed(Failure::Lost(Why::Timeout(patience))));
            }
        };
        self.disconnect();
        match broken {
            Break::Before if was_used => Err(Asked::Unwritten),
            Break::Before => {
                let why = endpoint.broken("it was closed before the request");
                Err(Asked::Failed(Failure::NotSent(why)))
            }
            Break::Garbage if greets => Err(Asked::Failed(endpoint.setting(&endpoint.no_http()))),
            Break::Garbage => Ok(Verdict::Unknown(endpoint.broken(&endpoint.no_http()))),
            Break::After(reason) => Ok(Verdict::Unknown(endpoint.broken(&reason))),
            Break::TooLarge(status) => Err(Asked::Apart(TooLarge::Ours(Why::Answer {
                place: endpoint.place.clone(),
                status: status.as_u16(),
                text: format!("more than {limit} bytes (option `rest_reply_max`)"),
            }))),
        }
    }
}

/// Whether a request was refused because its id's time is off.
fn is_off(outcomes: &Outcomes) -> bool {
    matches!(outcomes.first(), Some(Ok(Reply::Error(text))) if request_id::is_off(text))
}

/// The outcomes of a repeat, of which some say that they are not known.
fn judged(mut outcomes: Outcomes, why: &Why) -> Outcomes {
    for outcome in &mut outcomes {
        if matches!(outcome, Ok(Reply::Error(text)) if request_id::leaves_unknown(text)) {
            *outcome = Err(Failure::Lost(why.clone()));
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::endpoint::Endpoint;
    use super::super::request;
    use super::*;
    use crate::backend::Sent;
    use crate::options::Options;
    use crate::target::Target;

    #[tokio::test]
    async fn a_slot_that_panics_is_replaced() {
        let options = Options {
            rest_slots: 1,
            backoff_min: Duration::from_millis(1),
            ..Options::default()
        };
        let target = Target::new("http://127.0.0.1:1", Some("t"), "URL", "TOKEN").unwrap();
        let endpoint = Endpoint::of(&target, options.connect_timeout).unwrap();
        let shared = Arc::new(Shared::new(endpoint, options));
        let (sent, broke) = (Sent::default(), Arc::new(AtomicBool::new(false)));
        let push = || {
            let work = Work::Calls(vec![request::ping()]);
            shared.queue.push(work, false, &sent)
        };
        let (mut first, mut second) = (push(), push());
        // Panics with its first job in hand.
        let run = move |slot: Slot| {
            let broke = broke.clone();
            async move {
                let jobs = slot.shared.queue.take(slot.number);
                assert!(broke.swap(true, Ordering::Relaxed), "panics once");
                slot.shared.queue.finish(jobs, |_| Outcomes::new());
                std::future::pending::<()>().await;
            }
        };
        let mut keeping = JoinSet::new();
        keeping.spawn(keep(shared.clone(), 0, run));
        let limit = Duration::from_secs(10);
        assert!(timeout(limit, first.outcomes()).await.unwrap().is_none());
        assert!(timeout(limit, second.outcomes()).await.unwrap().is_some());
        assert!(shared.queue.is_forgotten(), "its caller is with no slot");
    }
}
