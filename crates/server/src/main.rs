//! The `sangam` binary.
fn main() {}
