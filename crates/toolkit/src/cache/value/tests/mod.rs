//! Values there and back, damaged, cut, bloated, and how small they become.

mod bombs;
mod codec;
mod envelope;
mod shared;
mod size;
