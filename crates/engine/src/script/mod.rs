//! Scripts. Placeholder until the host is wired.

/// The scripts of a keyspace.
pub(crate) struct Scripts;
