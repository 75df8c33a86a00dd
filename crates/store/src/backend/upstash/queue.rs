//! Calls that wait for a slot, and who gets them.
//!
//! Whatever waits when a slot becomes free leaves with it in one request: under
//! load requests grow by themselves, and a call that finds a slot free leaves at
//! once. Nothing is ever held back for company.
//!
//! **Order.** Calls of one caller (a tokio task; outside of tasks, a thread)
//! reach the store in the order in which they were first polled, though there
//! are several slots: as long as a caller has a call queued or on its way, its
//! next ones follow on the same slot, behind it. What needs a request of its
//! own, such as a transaction, keeps its place in that order. A call that is
//! repeated after it had no effect takes a new place. Between callers there is
//! no order.
//!
//! Each job stands in the common line or in that of one slot. A slot that takes
//! from the common line and meets a job of a caller that another slot serves
//! moves it to that slot's line, so each job is touched at most twice, whoever
//! comes and goes.
//!
//! **Cancellation.** A job's ticket says whether it waits, was taken, or its
//! caller is gone; taking it and giving up are one compare-and-swap against each
//! other. A job whose caller is gone is not sent. It may stand in a line that no
//! slot takes from for seconds, so lines are swept whenever jobs of [`GONE_MAX`]
//! bytes were given up: no more than that is held for nobody, and a sweep costs
//! little beside the bytes that called for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::ThreadId;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::task;

use super::reply::Outcomes;
use super::request::{BODY_MAX, Call, Work};
use crate::backend::{Failure, Sent};

/// Whoever makes calls one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    Task(task::Id),
    Thread(ThreadId),
}

impl Caller {
    pub(super) fn here() -> Self {
        task::try_id().map_or_else(|| Caller::Thread(std::thread::current().id()), Caller::Task)
    }
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const GONE: u8 = 2;

/// Bytes of jobs that were given up and may stand in lines all the same.
const GONE_MAX: usize = 1 << 20;
/// What a job costs beside its bytes, at least.
const JOB_COST: usize = size_of::<Job>();

/// What a slot and the caller of a job both see.
#[derive(Debug, Default)]
pub(super) struct Ticket(AtomicU8);

impl Ticket {
    fn step(&self, from: u8, to: u8) -> bool {
        let swapped = self
            .0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire);
        swapped.is_ok()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) == GONE
    }
}

/// A job on its way, and its caller's word.
pub(super) struct Job {
    caller: Caller,
    pub(super) work: Work,
    pub(super) made: Instant,
    /// It shares no request: its reply is large, or it greets.
    pub(super) alone: bool,
    /// Whether it is the PING that looks at the endpoint.
    pub(super) greets: bool,
    ticket: Arc<Ticket>,
    outcome: oneshot::Sender<Outcomes>,
}

impl Job {
    pub(super) fn is_gone(&self) -> bool {
        self.ticket.is_gone()
    }

    pub(super) fn writes(&self) -> bool {
        match &self.work {
            Work::Items(items) => items.writes,
            Work::Calls(calls) => calls.iter().any(|call| call.writes),
        }
    }

    /// Bytes that it holds.
    fn cost(&self) -> usize {
        let bytes = match &self.work {
            Work::Items(items) => items.json.capacity(),
            Work::Calls(calls) => {
                let bytes = |call: &Call| size_of::<Call>() + call.path.len() + call.body.len();
                calls.iter().map(bytes).sum()
            }
        };
        JOB_COST + bytes
    }

    /// Outcomes that it waits for.
    pub(super) fn outcomes(&self) -> usize {
        match &self.work {
            Work::Items(items) => items.count,
            Work::Calls(calls) => calls.iter().map(|call| call.form.outcomes()).sum(),
        }
    }
}

/// The caller's half of a job. Dropping it gives the job up, and says whether it
/// may have left.
pub(super) struct Waiting<'a> {
    ticket: Arc<Ticket>,
    queue: &'a Queue,
    cost: usize,
    sent: &'a Sent,
    outcome: oneshot::Receiver<Outcomes>,
}

impl Waiting<'_> {
    /// The outcomes; `None` when the slots are gone.
    pub(super) async fn outcomes(&mut self) -> Option<Outcomes> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.ticket.0.swap(GONE, Ordering::AcqRel) == TAKEN {
            self.sent.set();
        } else {
            self.queue.gave_up(self.cost);
        }
    }
}

/// A caller with calls that are queued or on their way.
#[derive(Debug, Default)]
struct Place {
    /// The slot that serves it.
    slot: Option<usize>,
    /// Its jobs in the common line.
    common: usize,
    /// All of its jobs.
    jobs: usize,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    is_idle: bool,
    is_connected: bool,
}

#[derive(Default)]
struct Lines {
    common: VecDeque<Job>,
    slots: Vec<Line>,
    callers: HashMap<Caller, Place>,
    /// Bytes of jobs that were given up since the last sweep.
    gone: usize,
}

pub(super) struct Queue {
    lines: Mutex<Lines>,
    wake: Vec<Notify>,
    /// Commands in one request.
    batch: usize,
}

impl Queue {
    pub(super) fn new(slots: usize, batch: usize) -> Self {
        let lines = Lines {
            slots: (0..slots).map(|_| Line::default()).collect(),
            ..Lines::default()
        };
        Queue {
            lines: Mutex::new(lines),
            wake: (0..slots).map(|_| Notify::new()).collect(),
            batch,
        }
    }

    /// Puts work into the caller's place.
    pub(super) fn push<'a>(&'a self, work: Work, greets: bool, sent: &'a Sent) -> Waiting<'a> {
        let ticket = Arc::new(Ticket::default());
        let (outcome, receiver) = oneshot::channel();
        let caller = Caller::here();
        let job = Job {
            caller,
            work,
            made: Instant::now(),
            alone: greets,
            greets,
            ticket: ticket.clone(),
            outcome,
        };
        let cost = job.cost();
        let mut lines = self.lines.lock();
        let Lines {
            common,
            slots,
            callers,
            ..
        } = &mut *lines;
        let place = callers.entry(caller).or_default();
        place.jobs += 1;
        let line = place.slot.filter(|_| place.common == 0);
        if let Some(line) = line.and_then(|slot| slots.get_mut(slot)) {
            // That slot is at work, and looks here when it is done.
            line.jobs.push_back(job);
        } else {
            place.common += 1;
            common.push_back(job);
            self.wake_one(&mut lines);
        }
        Waiting {
            ticket,
            queue: self,
            cost,
            sent,
            outcome: receiver,
        }
    }

    /// Counts a job that was given up as it waited, and sweeps once they are many.
    fn gave_up(&self, cost: usize) {
        // What they hold is freed after the lock.
        let mut swept = Vec::new();
        let mut lines = self.lines.lock();
        lines.gone += cost;
        if lines.gone <= GONE_MAX {
            return;
        }
        lines.gone = 0;
        let Lines {
            common,
            slots,
            callers,
            ..
        } = &mut *lines;
        let of_slots = slots.iter_mut().map(|line| (&mut line.jobs, false));
        for (jobs, is_common) in of_slots.chain([(common, true)]) {
            let (gone, kept): (VecDeque<_>, _) =
                std::mem::take(jobs).into_iter().partition(Job::is_gone);
            *jobs = kept;
            for job in &gone {
                if is_common && let Some(place) = callers.get_mut(&job.caller) {
                    place.common -= 1;
                }
                release(callers, job.caller);
            }
            swept.extend(gone);
        }
    }

    /// Wakes an idle slot, one with a connection first.
    fn wake_one(&self, lines: &mut Lines) {
        let idle = |connected: bool| {
            let mut slots = lines.slots.iter();
            slots.position(|line| line.is_idle && line.is_connected == connected)
        };
        let Some(slot) = idle(true).or_else(|| idle(false)) else {
            return;
        };
        if let (Some(line), Some(wake)) = (lines.slots.get_mut(slot), self.wake.get(slot)) {
            line.is_idle = false;
            wake.notify_one();
        }
    }

    /// Until there may be work for a slot.
    pub(super) async fn work_for(&self, slot: usize, is_connected: bool) {
        let Some(wake) = self.wake.get(slot) else {
            return std::future::pending().await;
        };
        loop {
            {
                let mut lines = self.lines.lock();
                let lines = &mut *lines;
                let Some(line) = lines.slots.get_mut(slot) else {
                    return;
                };
                line.is_connected = is_connected;
                line.is_idle = line.jobs.is_empty() && lines.common.is_empty();
                if !line.is_idle {
                    return;
                }
            }
            wake.notified().await;
        }
    }

    /// What leaves now in a slot's next request: jobs that share it, or one that
    /// does not. Empty when all were given up, or are others'.
    pub(super) fn take(&self, slot: usize) -> Vec<Job> {
        let mut taken = Taken {
            jobs: Vec::new(),
            commands: 0,
            bytes: 0,
            batch: self.batch,
        };
        let mut gone = Vec::new();
        let mut lines = self.lines.lock();
        let Lines {
            common,
            slots,
            callers,
            ..
        } = &mut *lines;
        let mut open = true;
        if let Some(line) = slots.get_mut(slot) {
            while open && let Some(job) = line.jobs.pop_front() {
                match taken.add(job) {
                    Added::Yes => {}
                    Added::Gone(job) => gone.push(job),
                    Added::No(job) => {
                        line.jobs.push_front(job);
                        open = false;
                    }
                }
            }
        }
        while open && let Some(job) = common.pop_front() {
            let caller = job.caller;
            let Some(place) = callers.get_mut(&caller) else {
                continue;
            };
            if let Some(other) = place.slot.filter(|other| *other != slot)
                && let Some(line) = slots.get_mut(other)
            {
                place.common -= 1;
                line.jobs.push_back(job);
                continue;
            }
            match taken.add(job) {
                Added::Yes => {
                    place.common -= 1;
                    place.slot = Some(slot);
                }
                Added::Gone(job) => {
                    place.common -= 1;
                    gone.push(job);
                }
                Added::No(job) => {
                    common.push_front(job);
                    open = false;
                }
            }
        }
        for job in &gone {
            release(callers, job.caller);
        }
        if !common.is_empty() {
            self.wake_one(&mut lines);
        }
        drop(lines);
        taken.jobs
    }

    /// Puts jobs back to the front of a slot's line: nothing of them was run.
    pub(super) fn put_back(&self, slot: usize, jobs: Vec<Job>) {
        let mut lines = self.lines.lock();
        let lines = &mut *lines;
        let Some(line) = lines.slots.get_mut(slot) else {
            return;
        };
        for job in jobs.into_iter().rev() {
            if job.ticket.step(TAKEN, WAITING) {
                line.jobs.push_front(job);
            } else {
                release(&mut lines.callers, job.caller);
            }
        }
    }

    /// Ends jobs with their outcomes.
    pub(super) fn finish(&self, jobs: Vec<Job>, mut outcomes: impl FnMut(&Job) -> Outcomes) {
        {
            let mut lines = self.lines.lock();
            for job in &jobs {
                release(&mut lines.callers, job.caller);
            }
        }
        for job in jobs {
            let outcomes = outcomes(&job);
            // Whoever is gone gets nothing.
            let _ = job.outcome.send(outcomes);
        }
    }

    /// Ends what waits for a slot that has no connection, and what waits for any
    /// where no other has one.
    pub(super) fn fail(&self, slot: usize, failure: &Failure) {
        let mut jobs = Vec::new();
        {
            let mut lines = self.lines.lock();
            let others = lines.slots.iter().any(|line| line.is_connected);
            if let Some(line) = lines.slots.get_mut(slot) {
                jobs.extend(line.jobs.drain(..));
            }
            if others {
                self.wake_one(&mut lines);
            } else {
                jobs.extend(lines.common.drain(..));
                let lines = &mut *lines;
                for place in lines.callers.values_mut() {
                    place.common = 0;
                }
            }
        }
        self.finish(jobs, |job| {
            let outcomes = 0..job.outcomes();
            outcomes.map(|_| Err(failure.clone())).collect()
        });
    }

    /// Forgets what a slot that has panicked had taken: those jobs are gone, and
    /// their callers are with it only as long as others of theirs wait.
    pub(super) fn abandoned(&self, slot: usize) {
        let mut lines = self.lines.lock();
        let Lines { slots, callers, .. } = &mut *lines;
        let Some(line) = slots.get_mut(slot) else {
            return;
        };
        line.is_idle = false;
        line.is_connected = false;
        let mut waiting: HashMap<Caller, usize> = HashMap::new();
        for job in &line.jobs {
            *waiting.entry(job.caller).or_default() += 1;
        }
        callers.retain(|caller, place| {
            if place.slot == Some(slot) {
                place.jobs = place.common + waiting.get(caller).copied().unwrap_or_default();
            }
            place.jobs > 0
        });
    }

    /// Whether no caller has a call queued or on its way.
    #[cfg(test)]
    pub(super) fn is_forgotten(&self) -> bool {
        self.lines.lock().callers.is_empty()
    }

    /// Says that a slot's connection is gone, or there.
    pub(super) fn connected(&self, slot: usize, is_connected: bool) {
        if let Some(line) = self.lines.lock().slots.get_mut(slot) {
            line.is_connected = is_connected;
        }
    }
}

fn release(callers: &mut HashMap<Caller, Place>, caller: Caller) {
    if let Some(place) = callers.get_mut(&caller) {
        place.jobs = place.jobs.saturating_sub(1);
        if place.jobs == 0 {
            callers.remove(&caller);
        }
    }
}

/// Jobs for one request.
struct Taken {
    jobs: Vec<Job>,
    commands: usize,
    bytes: usize,
    batch: usize,
}

enum Added {
    Yes,
    No(Job),
    Gone(Job),
}

impl Taken {
    fn add(&mut self, job: Job) -> Added {
        if job.is_gone() {
            return Added::Gone(job);
        }
        let (commands, bytes) = match &job.work {
            Work::Items(items) if !job.alone => (items.count, items.json.len() + 1),
            _ => (usize::MAX, 0),
        };
        let fits =
            self.commands.saturating_add(commands) <= self.batch && self.bytes + bytes <= BODY_MAX;
        if !self.jobs.is_empty() && !fits {
            return Added::No(job);
        }
        if !job.ticket.step(WAITING, TAKEN) {
            return Added::Gone(job);
        }
        self.commands = self.commands.saturating_add(commands);
        self.bytes += bytes;
        self.jobs.push(job);
        Added::Yes
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Items;
    use super::*;

    fn work(name: &str) -> Work {
        let mut items = Items::default();
        items.push(&[b"GET", name.as_bytes()]);
        Work::Items(items)
    }

    fn transaction(name: &str) -> Work {
        let Work::Items(items) = work(name) else {
            panic!()
        };
        Work::Calls(vec![Items::into_call(&[&items])])
    }

    fn names(jobs: &[Job]) -> String {
        let text = |job: &Job| match &job.work {
            Work::Items(items) => String::from_utf8_lossy(&items.json).into_owned(),
            Work::Calls(calls) => String::from_utf8_lossy(&calls[0].body).into_owned(),
        };
        let name = |job: &Job| text(job).split('"').nth(3).unwrap().to_owned();
        jobs.iter().map(name).collect::<Vec<_>>().join(" ")
    }

    /// Pushes as another caller: threads are callers too.
    fn elsewhere<'a>(queue: &'a Queue, work: Work, sent: &'a Sent) -> Waiting<'a> {
        std::thread::scope(|scope| {
            let pushed = scope.spawn(|| queue.push(work, false, sent));
            pushed.join().unwrap()
        })
    }

    fn done(queue: &Queue, jobs: Vec<Job>) {
        queue.finish(jobs, |_| Outcomes::new());
    }

    #[test]
    fn a_caller_stays_with_its_slot_and_others_do_not_wait() {
        let (queue, sent) = (Queue::new(2, 2), Sent::default());
        let _mine: Vec<_> = ["a1", "a2", "a3", "a4"]
            .map(|name| queue.push(work(name), false, &sent))
            .into();
        let _other = elsewhere(&queue, work("b1"), &sent);
        let first = queue.take(0);
        assert_eq!(names(&first), "a1 a2", "a batch is full");
        let second = queue.take(1);
        assert_eq!(names(&second), "b1", "what is slot 0's went to its line");
        let _late = queue.push(work("a5"), false, &sent);
        done(&queue, second);
        assert!(queue.take(1).is_empty());
        done(&queue, first);
        let third = queue.take(0);
        assert_eq!(names(&third), "a3 a4");
        done(&queue, third);
        let last = queue.take(0);
        assert_eq!(names(&last), "a5");
        done(&queue, last);
        let _free = queue.push(work("a6"), false, &sent);
        assert_eq!(names(&queue.take(1)), "a6", "nothing of it is on its way");
    }

    #[test]
    fn what_goes_alone_keeps_its_place() {
        let (queue, sent) = (Queue::new(1, 100), Sent::default());
        let _mine = [
            queue.push(work("1"), false, &sent),
            queue.push(transaction("2"), false, &sent),
            queue.push(work("3"), false, &sent),
            queue.push(work("4"), false, &sent),
        ];
        for expected in ["1", "2", "3 4"] {
            let jobs = queue.take(0);
            assert_eq!(names(&jobs), expected);
            done(&queue, jobs);
        }
        assert!(queue.is_forgotten());
    }

    #[test]
    fn who_gave_up_is_not_sent_and_hears_whether_it_was() {
        let (queue, early, late) = (Queue::new(1, 100), Sent::default(), Sent::default());
        let given_up = queue.push(work("1"), false, &early);
        let waiting = queue.push(work("2"), false, &late);
        drop(given_up);
        assert!(!early.is_set());
        let jobs = queue.take(0);
        assert_eq!(names(&jobs), "2");
        queue.put_back(0, jobs);
        let jobs = queue.take(0);
        assert_eq!(names(&jobs), "2", "it is back in its place");
        drop(waiting);
        assert!(late.is_set());
        queue.put_back(0, jobs);
        assert!(queue.take(0).is_empty());
        assert!(queue.is_forgotten());
    }

    #[test]
    fn what_was_given_up_is_not_held() {
        let (queue, sent) = (Queue::new(2, 100), Sent::default());
        let large = "x".repeat(100_000);
        let _first = queue.push(work("1"), false, &sent);
        let on_its_way = queue.take(0);
        let _second = queue.push(work("2"), false, &sent);
        let _other = elsewhere(&queue, work("3"), &sent);
        for turn in 0..200 {
            drop(queue.push(work(&large), false, &sent));
            drop(elsewhere(&queue, work(&large), &sent));
            drop(elsewhere(&queue, transaction(&large), &sent));
            let lines = queue.lines.lock();
            let jobs = lines.slots.iter().flat_map(|line| &line.jobs);
            let held: usize = jobs.chain(&lines.common).map(Job::cost).sum();
            assert!(held < GONE_MAX + 500_000, "{held} bytes after {turn}");
        }
        done(&queue, on_its_way);
        let (mine, others) = (queue.take(0), queue.take(1));
        assert_eq!(
            (names(&mine), names(&others)),
            ("2 3".into(), String::new())
        );
        done(&queue, mine);
        assert!(queue.is_forgotten());
    }

    #[tokio::test]
    async fn without_any_connection_all_fail() {
        let (queue, sent) = (Queue::new(2, 100), Sent::default());
        let mut one = queue.push(work("1"), false, &sent);
        let failure = Failure::Setting("x".to_owned());
        queue.connected(1, true);
        queue.fail(0, &failure);
        queue.connected(1, false);
        let jobs = queue.take(0);
        assert_eq!(names(&jobs), "1", "the other slot could have served it");
        queue.put_back(0, jobs);
        let mut two = elsewhere(&queue, work("2"), &sent);
        queue.fail(0, &failure);
        assert!(one.outcomes().await.unwrap()[0].is_err());
        assert!(two.outcomes().await.unwrap()[0].is_err());
        assert!(queue.is_forgotten());
    }
}
