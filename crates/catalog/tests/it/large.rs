//! A change that no segment can hold is refused alone: it ends neither other changes nor writing.

use crate::world::{Process, World, settle};
use drystone_base::BlobId;
use drystone_catalog::{CatalogError, Decision, Key};
use drystone_log::Ticket;

/// Bytes of a segment of the world.
const SEGMENT_LEN: usize = 256 << 10;

fn submit(process: &Process, number: u8, len: usize) -> Ticket<Result<(), CatalogError>> {
    process.catalog.submit(move |tx| {
        tx.put(Key::inline(BlobId([number; 16])), vec![number; len]);
        Ok(Decision::Commit(()))
    })
}

/// Changes that are handed in together, and what became of each.
fn commit(process: &Process, lens: &[usize]) -> Vec<Result<(), CatalogError>> {
    let each = lens.iter().enumerate();
    let tickets: Vec<_> = each.map(|(number, len)| submit(process, number as u8, *len)).collect();
    settle(process);
    tickets.into_iter().map(Ticket::wait).collect()
}

#[test]
fn a_change_larger_than_a_segment_is_refused_alone() {
    let process = World::new(7, None).open(false).expect("opens");
    for large in [SEGMENT_LEN - 4096, SEGMENT_LEN, 3 * SEGMENT_LEN] {
        let outcomes = commit(&process, &[100, large, 200]);
        assert!(matches!(outcomes[..], [Ok(()), Err(CatalogError::TooLarge), Ok(())]), "{large}");
    }
    assert!(commit(&process, &[100]).iter().all(Result::is_ok), "writing goes on");
}

#[test]
fn changes_that_only_fit_one_by_one_are_all_committed() {
    let process = World::new(8, None).open(false).expect("opens");
    let outcomes = commit(&process, &[SEGMENT_LEN / 3; 9]);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}
