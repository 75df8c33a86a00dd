//! Limits: so much in such a time, for whoever an identifier names; several rules at
//! once, all or nothing.

mod adjust;
mod algorithm;
mod check;
mod rule;

pub use rule::{Algorithm, Rule, RuleError};

#[cfg(test)]
mod tests;
