//! What was asked and what was answered.

use sangam::limit::{Algorithm, Decision, Rule, Ruled};

/// One request. Times are the store's, in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) instance: usize,
    pub(crate) rules: Vec<Rule>,
    pub(crate) cost: u64,
    /// Before it was asked: the moment that it is counted at is not earlier.
    pub(crate) sent: u64,
    /// When it was answered: it was taken by then.
    pub(crate) received: u64,
    /// `None` where the asker was gone.
    pub(crate) decision: Option<Decision>,
    /// When the return of a permit was begun.
    pub(crate) ended: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Log(pub(crate) Vec<Request>);

/// What a request took from one rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hit {
    pub(crate) instance: usize,
    pub(crate) ruled: Ruled,
    pub(crate) cost: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) ended: Option<u64>,
    /// What it left.
    pub(crate) remaining: u64,
    /// When all of the limit is there again, as the decision says.
    pub(crate) reset: u64,
}

impl Log {
    /// Who decided, each once.
    pub(crate) fn ways(&self) -> Vec<Ruled> {
        let mut ways = Vec::new();
        for decision in self.0.iter().filter_map(|it| it.decision.as_ref()) {
            if !ways.contains(&decision.ruled) {
                ways.push(decision.ruled);
            }
        }
        ways
    }

    /// What was admitted against a rule, or against its share, by the time that it
    /// was sent.
    pub(crate) fn hits(&self, rule: Rule) -> Vec<Hit> {
        let mut hits: Vec<Hit> = self.0.iter().filter_map(|it| hit(it, rule)).collect();
        hits.sort_by_key(|hit| hit.sent);
        hits
    }

    /// What may have been taken from a rule without being admitted by it, in
    /// requests that were under way within some time.
    pub(crate) fn uncertain(&self, rule: Rule, since: u64, until: u64) -> u64 {
        let within = |it: &&Request| {
            let degraded = it.decision.as_ref().is_none_or(|it| it.ruled.is_degraded());
            degraded && it.rules.contains(&rule) && it.sent < until && it.received >= since
        };
        self.0.iter().filter(within).map(|it| it.cost).sum()
    }

    /// Refusals by a rule in the store.
    pub(crate) fn refusals(&self, rule: Rule, since: u64, until: u64) -> usize {
        let refused = |it: &&Request| {
            let by_rule = it
                .decision
                .as_ref()
                .is_some_and(|it| it.ruled == Ruled::Store && !it.allowed);
            by_rule && it.rules.contains(&rule) && it.sent >= since && it.received < until
        };
        self.0.iter().filter(refused).count()
    }
}

fn hit(request: &Request, rule: Rule) -> Option<Hit> {
    let decision = request.decision.as_ref().filter(|it| it.allowed)?;
    let at = request.rules.iter().position(|it| *it == rule)?;
    if decision.ruled == Ruled::Open {
        return None;
    }
    let outcome = decision.outcomes.get(at)?;
    // A share is asked when the store has failed, the store at once.
    let asked = match decision.ruled {
        Ruled::Local => request.received,
        _ => request.sent,
    };
    assert!(rule.algorithm() != Algorithm::Concurrency || request.cost == 1);
    Some(Hit {
        instance: request.instance,
        ruled: decision.ruled,
        cost: request.cost,
        sent: request.sent,
        received: request.received,
        ended: request.ended,
        remaining: outcome.remaining,
        reset: asked + outcome.reset_after.as_micros() as u64,
    })
}
