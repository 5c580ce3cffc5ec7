//! What the key of an object is bound to.

use drystone_base::{BucketId, Rng};

/// Length of the id of an object.
pub const OBJECT_ID_LEN_BYTES: usize = 16;
/// No context of SSE-KMS begins so: those are JSON, or empty.
const BOUND: &[u8] = b"drystone place 1\0";

/// The place of an object: what is sealed for one opens for no other.
///
/// The version is not part of it, because it is known only inside the commit. The id is chosen before the
/// bytes are written, and the row that names both is authenticated by the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectPlace<'a> {
    /// Bucket.
    pub bucket: BucketId,
    /// Random id of the object, kept in its row.
    pub object_id: [u8; OBJECT_ID_LEN_BYTES],
    /// Key.
    pub key: &'a [u8],
}

/// A new id of an object.
#[must_use]
pub fn new_object_id(rng: &dyn Rng) -> [u8; OBJECT_ID_LEN_BYTES] {
    let mut id = [0; OBJECT_ID_LEN_BYTES];
    rng.fill(&mut id);
    id
}

/// A context that is bound to a place as well; without a place, the context alone, as objects had it that
/// were written before places were bound.
#[must_use]
pub fn bound_context(context: &[u8], place: Option<&ObjectPlace<'_>>) -> Vec<u8> {
    let Some(place) = place else { return context.to_vec() };
    let len = (context.len() as u64).to_be_bytes();
    let bucket = place.bucket.0.to_be_bytes();
    [BOUND, &len, context, &bucket, &place.object_id, place.key].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: no two places, and no two contexts, are bound alike. Method: each part changed alone, and
    /// bytes moved from one part into the next.
    #[test]
    fn every_part_of_a_place_counts() {
        let place = ObjectPlace { bucket: BucketId(1), object_id: [2; 16], key: b"ab" };
        let bound = |context: &[u8], place| bound_context(context, Some(&place));
        let all = [
            bound(b"x", place),
            bound(b"y", place),
            bound(b"", place),
            bound(b"x", ObjectPlace { bucket: BucketId(2), ..place }),
            bound(b"x", ObjectPlace { object_id: [3; 16], ..place }),
            bound(b"x", ObjectPlace { key: b"a", ..place }),
            bound(b"x", ObjectPlace { key: b"", ..place }),
            bound_context(b"x", None),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }
}
