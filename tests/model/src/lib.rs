//! The meeting rules as small models, each walked exhaustively within its bounds by the model checker stateright.
//!
//! A model is a state, the steps that may come next, and properties that must hold in every state that can be reached.
//! Each file asks one question; its tests print how far they walked. A rule that can be taken away or bent is a field
//! of the model, and a test shows that the checker misses it. Where the product has a pure function for a rule (`meet`,
//! `rungs`, `Receiver`, `Sender`), the model calls it. README.md tells what was found.

pub mod challenge;
pub mod check;
pub mod journal;
pub mod numbers;
pub mod pen;
pub mod stream;
pub mod workers;
