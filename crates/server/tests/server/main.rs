//! The server from outside: started in process on free ports, spoken to in raw
//! bytes over TCP.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod blocking;
mod events;
mod http;
mod life;
mod long;
mod over_redis;
mod over_store;
mod requests;
mod resp;
mod rest;
mod start;
mod strict;
mod told;
mod users;
