//! Numbers that tell whether a key was invalidated since.

use parking_lot::Mutex;

const STRIPES: usize = 1024;

/// A stripe and its number when the ticket was taken.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Ticket {
    stripe: usize,
    number: u64,
}

impl Ticket {
    pub(super) fn stripe(self) -> usize {
        self.stripe
    }
}

#[derive(Debug)]
pub(super) struct Stripes {
    numbers: Box<[Mutex<u64>]>,
    hasher: ahash::RandomState,
}

impl Default for Stripes {
    fn default() -> Self {
        Stripes {
            numbers: (0..STRIPES).map(|_| Mutex::new(0)).collect(),
            hasher: ahash::RandomState::new(),
        }
    }
}

impl Stripes {
    fn stripe(&self, key: &str) -> usize {
        (self.hasher.hash_one(key) as usize) % STRIPES
    }

    pub(super) fn ticket(&self, key: &str) -> Ticket {
        let stripe = self.stripe(key);
        let number = *self.numbers[stripe].lock();
        Ticket { stripe, number }
    }

    /// Does it if the ticket is not void, before the ticket can become so.
    pub(super) fn if_valid(&self, ticket: Ticket, act: impl FnOnce()) -> bool {
        let number = self.numbers[ticket.stripe].lock();
        let valid = *number == ticket.number;
        if valid {
            act();
        }
        valid
    }

    /// Makes tickets void and does it; the first ticket after.
    pub(super) fn void(&self, key: &str, act: impl FnOnce()) -> Ticket {
        let stripe = self.stripe(key);
        let mut number = self.numbers[stripe].lock();
        *number += 1;
        act();
        Ticket {
            stripe,
            number: *number,
        }
    }

    /// Makes all tickets void.
    pub(super) fn void_all(&self) {
        for number in &self.numbers {
            *number.lock() += 1;
        }
    }

    /// Makes tickets void and does it; it is told whether this one was not yet.
    pub(super) fn replace(&self, ticket: Ticket, act: impl FnOnce(bool)) {
        let mut number = self.numbers[ticket.stripe].lock();
        let alone = *number == ticket.number;
        *number += 1;
        act(alone);
    }
}
