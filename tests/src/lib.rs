//! The harness of the end-to-end tests: it starts real processes and speaks to them only through what outside
//! scripts rely on: the command line, the ready line, HTTP. It shares no code with agent or hub; only `fuzzing`, which
//! calls their decoders directly, knows them.

pub mod api;
pub mod broker;
pub mod clerk;
pub mod fuzzing;
pub mod golden;
pub mod golden_stores;
pub mod http;
pub mod import;
pub mod oracle;
pub mod process;
pub mod proxy;
pub mod small_disk;
pub mod wait;
