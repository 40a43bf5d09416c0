//! What GitHub says, and what is sent to it.
