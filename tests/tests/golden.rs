//! Golden frames: those of every released version stay readable, and this build writes exactly its own.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use waystation_protocol::PROTOCOL_VERSION;
use waystation_protocol::batch::Unpacked;
use waystation_protocol::entry::Entry;
use waystation_protocol::frame::{Frame, FrameType};
use waystation_protocol::message::{Ack, Batch, Death, Heartbeat, Hello, Message, Welcome};
use waystation_tests::golden::{key, samples, shapes};

/// SHA-256 of every released version's shape, version 1 first. Another shape is another version: it gets its own
/// line, golden files and `PROTOCOL_VERSION`.
const SHAPES: &[&str] = &["2959494601cb763fb941960722347c759cd6738853befee009e7ef45d3d5c8a1"];

fn folder(version: u8) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/v{version}"))
}

fn reads(kind: FrameType, body: &[u8]) -> Result<(), String> {
    fn read<M: Message>(body: &[u8]) -> Result<M, String> {
        M::from_body(body).map_err(|error| error.to_string())
    }
    match kind {
        FrameType::Hello => read::<Hello>(body).map(drop),
        FrameType::Welcome => read::<Welcome>(body).map(drop),
        FrameType::Batch => {
            let batch = read::<Batch>(body)?;
            Unpacked::open(&batch).map(drop).map_err(|error| error.to_string())
        }
        FrameType::Ack => read::<Ack>(body).map(drop),
        FrameType::Heartbeat => read::<Heartbeat>(body).map(drop),
        FrameType::Death => read::<Death>(body).map(drop),
    }
}

/// Proves R-VER-2, R-FRAME-1.
#[test]
fn frames_of_every_released_version_stay_readable() {
    for version in 1..=PROTOCOL_VERSION {
        let all = fs::read_dir(folder(version)).unwrap().map(|file| file.unwrap().path());
        let files: Vec<_> = all.filter(|path| path.extension().is_some_and(|extension| extension == "bin")).collect();
        assert!(files.len() >= 13, "version {version} has its golden files");
        for path in files {
            let bytes = fs::read(&path).unwrap();
            if path.file_stem().unwrap().to_str().unwrap().starts_with("entry") {
                Entry::from_bytes(&bytes).unwrap();
                continue;
            }
            let frame = Frame::parse(&bytes).unwrap();
            assert_eq!(frame.version, version, "{}", path.display());
            let body = frame.verified_body(&key().verifying_key()).unwrap();
            reads(frame.kind, body).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}

/// Proves R-VER-2, R-ENTRY-1.
#[test]
fn this_build_writes_exactly_its_golden_frames() {
    for sample in samples() {
        let path = folder(PROTOCOL_VERSION).join(format!("{}.bin", sample.name));
        let golden = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(golden == sample.frame.unwrap_or(sample.body), "{} differs from its golden file", sample.name);
    }
}

/// Proves R-VER-2.
#[test]
fn the_wire_changes_only_with_its_version() {
    assert_eq!(SHAPES.len(), usize::from(PROTOCOL_VERSION), "every version has its shape");
    let digest: String = Sha256::digest(shapes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, SHAPES[usize::from(PROTOCOL_VERSION) - 1], "the shape of the wire changed:\n{}", shapes());
}

#[test]
#[ignore = "writes the golden files of the present version, before its release"]
fn golden_files_are_written() {
    fs::create_dir_all(folder(PROTOCOL_VERSION)).unwrap();
    for sample in samples() {
        let path = folder(PROTOCOL_VERSION).join(format!("{}.bin", sample.name));
        fs::write(path, sample.frame.unwrap_or(sample.body)).unwrap();
    }
}
