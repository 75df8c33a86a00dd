//! Limits in HTTP: a layer for [tower] services such as axum's, and what it is made
//! of, for those who answer requests in another way.
//!
//! | | |
//! |---|---|
//! | [`LimitLayer`] | checks requests before a service, and answers those that are refused |
//! | [`Fields`] | the fields of answers: `RateLimit`, `RateLimit-Policy`, `Retry-After` |
//! | [`Problem`] | why a request was refused, as application/problem+json |
//! | [`client_address`] | who the client is behind trusted proxies |
//!
//! [tower]: https://docs.rs/tower-service

mod address;
mod body;
mod fields;
mod layer;
mod permit;
mod problem;

pub use address::{ForwardedBy, client_address};
pub use body::LimitBody;
pub use fields::{Fields, RATELIMIT, RATELIMIT_POLICY, RULED};
pub use layer::{LimitFuture, LimitLayer, LimitService};
pub use problem::{Problem, QUOTA_EXCEEDED, REDUCED_CAPACITY};
