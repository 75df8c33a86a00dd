//! Over real servers, and lines to them that fail.
