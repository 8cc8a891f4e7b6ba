//! libFuzzer on the target `cbor`.

#![no_main]

waystation_fuzz::target!("cbor");
