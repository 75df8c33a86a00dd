//! The keyspace lock: a mutex that async tasks queue for without blocking
//! their worker thread.
//!
//! A task tries, spins for about a microsecond (most holders are gone by then),
//! and then leaves its waker in a queue; an unlock wakes one waker. The lock
//! barges: a newcomer may take it before the woken task does, which keeps it
//! busy instead of idle for a wake-up; a woken task that loses queues again at
//! the front. Threads (in-process callers) park in the mutex itself.
//!
//! While a script runs past its time limit the lock is *busy*: waiters and
//! newcomers get [`Busy`] at once instead of waiting for it.
//!
//! Cost, uncontended: one compare-and-swap, and one load at unlock.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

/// The holder runs past its time limit; say BUSY instead of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// A mutex for threads and tasks; see the module.
#[derive(Debug, Default)]
pub struct Lock<T> {
    data: Mutex<T>,
    waiting: AtomicUsize,
    queue: Mutex<VecDeque<(u64, Waker)>>,
    tickets: AtomicUsize,
    busy: AtomicBool,
}

/// Access to what the lock guards; unlocks and wakes the next on drop.
pub struct Guard<'a, T> {
    lock: &'a Lock<T>,
    data: Option<MutexGuard<'a, T>>,
}

const SPINS: u32 = 40;

impl<T> Lock<T> {
    /// A lock around `data`.
    pub fn new(data: T) -> Self {
        Lock {
            data: Mutex::new(data),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(VecDeque::new()),
            tickets: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.data.try_lock().map(|data| Guard {
            lock: self,
            data: Some(data),
        })
    }

    /// Blocks the calling thread until it has the lock.
    pub fn lock_blocking(&self) -> Result<Guard<'_, T>, Busy> {
        loop {
            if let Some(guard) = self.try_lock() {
                return Ok(guard);
            }
            if self.is_busy() {
                return Err(Busy);
            }
            // The slice bounds how late a thread notices that the holder is busy.
            if let Some(data) = self.data.try_lock_for(Duration::from_millis(20)) {
                return Ok(Guard {
                    lock: self,
                    data: Some(data),
                });
            }
        }
    }

    /// Waits for the lock without blocking the thread. Dropping the future
    /// leaves the queue.
    pub async fn lock(&self) -> Result<Guard<'_, T>, Busy> {
        for _ in 0..SPINS {
            if let Some(guard) = self.try_lock() {
                return Ok(guard);
            }
            if self.is_busy() {
                return Err(Busy);
            }
            std::hint::spin_loop();
        }
        let mut place = Place {
            lock: self,
            ticket: None,
        };
        poll_fn(|context| place.poll(context)).await
    }

    /// Marks the holder as running past its limit and sends the waiters away.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
        if busy {
            for (_, waker) in self.queue.lock().iter() {
                waker.wake_by_ref();
            }
        }
    }

    /// Whether the holder runs past its limit.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    fn wake_next(&self) {
        // Pairs with the fence in `Place::poll`: either this sees the waiter's
        // registration, or the waiter's second try sees the lock free.
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let next = self.queue.lock().pop_front();
        if let Some((_, waker)) = next {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            waker.wake();
        }
    }
}

struct Place<'a, T> {
    lock: &'a Lock<T>,
    ticket: Option<u64>,
}

impl<'a, T> Place<'a, T> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Guard<'a, T>, Busy>> {
        let lock = self.lock;
        if let Some(guard) = lock.try_lock() {
            self.leave();
            return Poll::Ready(Ok(guard));
        }
        if lock.is_busy() {
            return Poll::Ready(Err(Busy));
        }
        {
            let mut queue = lock.queue.lock();
            let waker = context.waker().clone();
            let place = self
                .ticket
                .and_then(|ticket| queue.iter_mut().find(|(other, _)| *other == ticket));
            if let Some(entry) = place {
                entry.1 = waker;
            } else {
                let woken_before = self.ticket.is_some();
                let ticket = lock.tickets.fetch_add(1, Ordering::Relaxed) as u64;
                self.ticket = Some(ticket);
                if woken_before {
                    queue.push_front((ticket, waker));
                } else {
                    queue.push_back((ticket, waker));
                }
                lock.waiting.fetch_add(1, Ordering::SeqCst);
            }
        }
        fence(Ordering::SeqCst);
        if let Some(guard) = lock.try_lock() {
            self.leave();
            return Poll::Ready(Ok(guard));
        }
        if lock.is_busy() {
            return Poll::Ready(Err(Busy));
        }
        Poll::Pending
    }

    fn leave(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else {
            return false;
        };
        let mut queue = self.lock.queue.lock();
        let Some(at) = queue.iter().position(|(other, _)| *other == ticket) else {
            return true;
        };
        queue.remove(at);
        self.lock.waiting.fetch_sub(1, Ordering::SeqCst);
        false
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        // A wake-up that came to a cancelled waiter belongs to the next.
        if self.leave() && !self.lock.data.is_locked() {
            self.lock.wake_next();
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[allow(clippy::unreachable, reason = "only drop empties it")]
    fn deref(&self) -> &T {
        match &self.data {
            Some(data) => data,
            None => unreachable!("a guard holds its lock until it is dropped"),
        }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[allow(clippy::unreachable, reason = "only drop empties it")]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.data {
            Some(data) => data,
            None => unreachable!("a guard holds its lock until it is dropped"),
        }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        self.data = None;
        self.lock.wake_next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::task::Wake;
    use std::thread;

    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            thread::park();
        }
    }

    #[test]
    fn tasks_and_threads_exclude_each_other_and_none_is_forgotten() {
        let lock = Arc::new(Lock::new(0u64));
        let workers: Vec<_> = (0..6)
            .map(|number| {
                let lock = lock.clone();
                thread::spawn(move || {
                    for _ in 0..20_000 {
                        if number % 2 == 0 {
                            *block_on(lock.lock()).unwrap() += 1;
                        } else {
                            *lock.lock_blocking().unwrap() += 1;
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        assert_eq!(*lock.try_lock().unwrap(), 120_000);
        assert_eq!(lock.waiting.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn busy_sends_waiters_away() {
        let lock = Arc::new(Lock::new(()));
        let held = lock.try_lock().unwrap();
        let waiter = {
            let lock = lock.clone();
            thread::spawn(move || block_on(lock.lock()).err())
        };
        while lock.waiting.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        lock.set_busy(true);
        assert_eq!(waiter.join().unwrap(), Some(Busy));
        drop(held);
        lock.set_busy(false);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn a_cancelled_waiter_passes_its_wake_up_on() {
        let lock = Arc::new(Lock::new(()));
        let held = lock.try_lock().unwrap();
        let mut first = Box::pin(lock.lock());
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        assert!(
            first
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        let second = {
            let lock = lock.clone();
            thread::spawn(move || block_on(lock.lock()).is_ok())
        };
        while lock.waiting.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        drop(held);
        drop(first);
        assert!(second.join().unwrap());
    }
}
