"""Clients of nothing but sockets, for tests that look at bytes."""
