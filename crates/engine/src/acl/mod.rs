//! Access control: who may run which commands on which keys and channels.
//!
//! Pure data and decisions, as Redis 7.0.15 makes them; who asks, and what
//! follows from a refusal, is in `command/authorize` and `command/acl`.
//!
//! - [`catalog`]: the commands that rules can name;
//! - [`commands`]: which of them a selector allows, and the shortest rules that
//!   say so;
//! - [`selector`]: commands, key patterns and channels that go together;
//! - [`user`]: a root selector and more, passwords, on or off;
//! - [`rules`]: the words of ACL SETUSER, and what is wrong with them;
//! - [`users`]: all users of a keyspace, and the log of refusals;
//! - [`token`]: bearer tokens for REST that stand for a user's password.
//!
//! **Tenancy.** Users live inside a keyspace. The tokens that the server was
//! given are not users: the full token acts as `default` whatever that user may
//! do, so nobody can lock the owner out, and the reading token acts as
//! `default_ro`, which cannot be changed. Neither is listed as a password.
//! While there are tokens, `nopass` lets nobody in as `default`.
//!
//! Cost: callers with a token pay one comparison a command. A user pays a bit
//! test, and a pattern match for each key and pattern until one fits; matching
//! one is bounded by the product of the lengths. Memory: a user's rules are
//! bounded ([`user::RULES_MAX`], [`user::BYTES_MAX`]), and so are all users of a
//! keyspace together ([`users::BYTES_MAX`]). Passwords are kept as SHA-256.

pub(crate) mod catalog;
pub(crate) mod commands;
pub(crate) mod log;
pub(crate) mod rules;
pub(crate) mod selector;
#[cfg(test)]
mod tests;
pub(crate) mod token;
pub(crate) mod user;
pub(crate) mod users;

pub(crate) use catalog::CATEGORIES;
pub(crate) use log::{Context, Denial, Entry, Reason};
pub(crate) use rules::RuleError;
pub(crate) use selector::Denied;
pub(crate) use user::User;
pub use users::Account;
pub(crate) use users::Users;
