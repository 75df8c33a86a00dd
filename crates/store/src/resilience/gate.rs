//! How many calls, and bytes of calls, may be on their way: beyond that a call is
//! refused at once, since it would wait longer than its caller does.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Why;

#[derive(Debug)]
pub(crate) struct Gate {
    calls_max: usize,
    bytes_max: usize,
    calls: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    gate: &'a Gate,
    bytes: usize,
}

impl Gate {
    pub(crate) fn new(calls_max: usize, bytes_max: usize) -> Self {
        Gate {
            calls_max,
            bytes_max,
            calls: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Lets a call of so many bytes in. One that is larger than all the room there
    /// is passes when nobody else is on the way.
    pub(crate) fn enter(&self, bytes: usize) -> Result<Pass<'_>, Why> {
        let calls = self.calls.fetch_add(1, Ordering::Relaxed);
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let pass = Pass { gate: self, bytes };
        if calls >= self.calls_max || (waiting > 0 && waiting + bytes > self.bytes_max) {
            return Err(Why::Full { calls });
        }
        Ok(pass)
    }

    /// Calls on their way.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.calls.fetch_sub(1, Ordering::Relaxed);
        self.gate.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gate_refuses_until_someone_leaves() {
        let gate = Gate::new(2, 100);
        let first = gate.enter(60).unwrap();
        assert!(gate.enter(41).is_err(), "too many bytes");
        let second = gate.enter(40).unwrap();
        assert_eq!(gate.enter(0).unwrap_err(), Why::Full { calls: 2 });
        drop(first);
        let third = gate.enter(60).unwrap();
        drop((second, third));
        assert!(gate.enter(1000).is_ok(), "alone, any size passes");
        assert_eq!(gate.calls(), 0);
    }
}
