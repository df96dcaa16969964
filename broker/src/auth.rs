//! Who clients are, how they prove it, and what they may do.
//!
//! [`users`] are those of the configuration, [`login`] decides whether a client is one of them, [`passwords`] checks hashed
//! passwords beside the threads that serve, [`permissions`] are what a user may publish and subscribe to, [`access`] is what
//! a connection has of all this.

pub mod access;
pub mod login;
pub mod passwords;
pub mod permissions;
pub mod replies;
pub mod users;
