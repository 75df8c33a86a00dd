//! Over servers that go away and come back.
