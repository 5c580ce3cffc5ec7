//! Replays the seed corpus of the fuzz targets, and golden files of stored formats.

#[allow(unreachable_pub, reason = "the fuzz targets share this file, as a library")]
#[path = "../../../fuzz/src/targets.rs"]
mod targets;

use drystone_catalog::{Frame, ObjectRow, UploadRow};
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/");

#[test]
fn the_corpus_of_every_fuzz_target_is_read_without_a_panic() {
    for (name, target) in targets::TARGETS {
        let folder = Path::new(ROOT).join("corpus").join(name);
        let entries: Vec<_> = std::fs::read_dir(&folder).expect("a corpus").collect();
        assert!(!entries.is_empty(), "{name} has seeds");
        for entry in entries {
            let path = entry.expect("readable").path();
            #[allow(clippy::disallowed_methods, reason = "a test reads its seeds")]
            let seed = std::fs::read(path).expect("readable");
            target(&seed);
            // Every prefix, and every byte changed.
            for at in 0..seed.len().min(400) {
                target(&seed[..at]);
                let mut changed = seed.clone();
                changed[at] ^= 0x41;
                target(&changed);
            }
        }
    }
}

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let text = std::fs::read_to_string(path).expect("a golden file");
    let digits: String = text.split_whitespace().collect();
    drystone_base::unhex(&digits).expect("hexadecimal")
}

/// Golden files are never made again: a version that cannot read them cannot read what is stored.
#[test]
fn golden_files_of_format_1_are_read_and_written_as_ever() {
    let bytes = golden("object-row-1.hex");
    let row = ObjectRow::decode(&bytes).expect("an object row");
    assert_eq!((row.size, row.metadata.len(), row.tags.len()), (5_000_000_000, 2, 1));
    assert_eq!(row.encode(), bytes);
    let bytes = golden("upload-row-1.hex");
    let row = UploadRow::decode(&bytes).expect("an upload row");
    assert_eq!(row.encode(), bytes);
    let bytes = golden("frame-1.hex");
    let frame = Frame::decode(&bytes.clone().into()).expect("a frame");
    assert_eq!((frame.clock.0, frame.changes.len()), (77, 2));
    assert_eq!(frame.encode(), bytes);
}
