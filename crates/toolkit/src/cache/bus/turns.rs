//! One comparison at a time, whose outcome all have who came before it began.
//!
//! Who comes takes a ticket for the next one to begin; that under way may have been
//! answered already. The first to find none under way leads. One that is given up
//! leaves its turn to those who wait.

use parking_lot::Mutex;
use sangam_store::Error;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

#[derive(Debug, Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    ended: Notify,
}

#[derive(Debug)]
struct State {
    is_led: bool,
    /// How many began.
    begun: u64,
    /// The number of the last one that came to an end.
    ended: u64,
    outcome: Result<(), Error>,
}

impl Default for State {
    fn default() -> Self {
        State {
            is_led: false,
            begun: 0,
            ended: 0,
            outcome: Ok(()),
        }
    }
}

/// What a holder of a ticket does next.
pub(super) enum Step<'a> {
    /// One that began after the ticket was taken ended.
    Over(Result<(), Error>),
    /// Wait until one ended.
    Wait,
    Lead(Turn<'a>),
}

/// The right to compare; it ends with this.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    number: u64,
}

impl Turns {
    pub(super) fn ticket(&self) -> u64 {
        self.state.lock().begun + 1
    }

    /// Resolves when a turn ended after this was enabled.
    pub(super) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }

    pub(super) fn step(&self, ticket: u64) -> Step<'_> {
        let mut state = self.state.lock();
        if state.ended >= ticket {
            return Step::Over(state.outcome.clone());
        }
        if state.is_led {
            return Step::Wait;
        }
        state.is_led = true;
        state.begun += 1;
        Step::Lead(Turn {
            turns: self,
            number: state.begun,
        })
    }
}

impl Turn<'_> {
    pub(super) fn end(self, outcome: Result<(), Error>) {
        let mut state = self.turns.state.lock();
        state.ended = self.number;
        state.outcome = outcome;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.state.lock().is_led = false;
        self.turns.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_what_began_before() {
        let turns = Turns::default();
        let first = turns.ticket();
        let Step::Lead(turn) = turns.step(first) else {
            panic!("nobody else leads");
        };
        let late = turns.ticket();
        assert!(matches!(turns.step(late), Step::Wait));
        turn.end(Ok(()));
        assert!(matches!(turns.step(first), Step::Over(Ok(()))));
        let Step::Lead(turn) = turns.step(late) else {
            panic!("it was not led yet");
        };
        turn.end(Err(Error::Reply(String::new())));
        assert!(matches!(turns.step(late), Step::Over(Err(_))));
    }

    #[test]
    fn a_turn_that_is_given_up_is_another_ones() {
        let turns = Turns::default();
        let ticket = turns.ticket();
        let Step::Lead(turn) = turns.step(ticket) else {
            panic!("nobody else leads");
        };
        let waiting = turns.ticket();
        drop(turn);
        let Step::Lead(turn) = turns.step(waiting) else {
            panic!("nobody leads any more");
        };
        turn.end(Ok(()));
        for ticket in [ticket, waiting] {
            assert!(matches!(turns.step(ticket), Step::Over(Ok(()))));
        }
    }
}
