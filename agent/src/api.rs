//! The agent's HTTP side: the loopback API, the status page, metrics.
//!
//! `work` is what the API does, without HTTP; commands on a stopped agent use the same. `routes` is the one router
//! file, `guard` what every request passes, `fault` how errors look.

pub mod fault;
pub mod guard;
pub mod routes;
mod salvaged;
mod word;
pub mod work;

#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use routes::{Shared, router};
pub use work::Work;
