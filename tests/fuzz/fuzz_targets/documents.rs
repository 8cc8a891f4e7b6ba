//! libFuzzer on the target `documents`.

#![no_main]

waystation_fuzz::target!("documents");
