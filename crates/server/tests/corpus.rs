//! Replays the seed corpus of the fuzz targets, and golden files of stored formats.

#[allow(unreachable_pub, reason = "the fuzz targets share this file, as a library")]
#[path = "../../../fuzz/src/targets.rs"]
mod targets;

use drystone_base::{Rng, SeededRng};
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

/// Some random changes of a seed: flipped, left out, doubled, or taken from another seed.
fn mutate(rng: &SeededRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let any = |len: usize| rng.below(len as u64 + 1) as usize;
    let mut bytes = seeds[any(seeds.len() - 1)].clone();
    for _ in 0..1 + rng.below(5) {
        let from = any(bytes.len());
        let to = (from + any(16)).min(bytes.len());
        match rng.below(4) {
            0 if from < bytes.len() => bytes[from] ^= 1 << rng.below(8),
            1 => drop(bytes.drain(from..to)),
            2 => {
                let again = bytes[from..to].to_vec();
                drop(bytes.splice(from..from, again));
            }
            _ => {
                let other = &seeds[any(seeds.len() - 1)];
                let start = any(other.len());
                let piece = other[start..(start + any(24)).min(other.len())].to_vec();
                drop(bytes.splice(from..from, piece));
            }
        }
    }
    bytes
}

#[test]
fn random_changes_of_the_corpus_are_read_without_a_panic() {
    for (at, (name, target)) in targets::TARGETS.iter().enumerate() {
        let folder = Path::new(ROOT).join("corpus").join(name);
        let entries = std::fs::read_dir(&folder).expect("a corpus");
        #[allow(clippy::disallowed_methods, reason = "a test reads its seeds")]
        let mut seeds: Vec<_> = entries
            .map(|e| std::fs::read(e.expect("readable").path()).expect("readable"))
            .collect();
        seeds.sort();
        let rng = SeededRng::new(at as u64);
        for _ in 0..20_000 {
            target(&mutate(&rng, &seeds));
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
