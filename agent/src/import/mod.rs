//! Import: history from spreadsheets becomes documents, once.
//!
//! The walk of a file: `packed` checks what is compressed, `source` opens and decodes text and `rows` splits it, or `sheet` reads a workbook through the
//! bounds of `parts`; `table` names the columns, `identity` tells rows apart, `map` says what columns mean, `mapping`
//! makes typed values of them, `reading` puts these steps together, `clerk` captures what they give, and `rejects`
//! keeps what could not be taken. `suggest` proposes a first map.

mod cell;
mod clerk;
pub mod encoding;
pub mod identity;
pub mod limits;
pub mod map;
pub mod mapping;
mod markup;
mod packed;
mod parts;
mod reading;
pub mod rejects;
pub mod rows;
pub mod run;
mod scan;
pub mod sheet;
pub mod source;
mod spill;
pub mod suggest;
pub mod table;
