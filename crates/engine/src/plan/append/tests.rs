//! What an append costs the committer, and that it keeps every part.

use super::*;
use drystone_base::SeededRng;
use drystone_catalog::MapView;

const OBJECT: &[u8] = b"object";
const PART_LEN: u64 = 5 << 20;
/// Bytes of rows that one append may read, and may write.
const APPEND_LEN_MAX: usize = 48 << 10;

struct World {
    view: MapView,
    bucket: BucketId,
    clock: u64,
}

fn blob_id(number: u64) -> BlobId {
    let mut id = [0xAA; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    BlobId(id)
}

fn part(number: u16) -> PartRow {
    let blob = blob_id(u64::from(number));
    let data = Data::Blob { blob, cell_len: 1 << 20, code: (4, 2), hint: None };
    let (seq, modified_ms, checksum, salt) = (Seq(u64::from(number)), 1 << 40, None, None);
    PartRow { number, size: PART_LEN, md5: [7; 16], modified_ms, checksum, data, seq, salt }
}

impl World {
    /// A bucket with an object of so many parts in one list.
    fn new(count: u16, append_count: u16) -> Self {
        let (view, bucket, clock) = (MapView::default(), BucketId(0), 1 << 40);
        let mut world = Self { view, bucket, clock };
        world.bucket = world.run(|tx| {
            let bucket = crate::plan::create_bucket(tx, "b", "", vec![], vec![], None)?.id;
            crate::plan::set_appends(tx, bucket, true)?;
            let parts: Vec<PartRow> = (1..=count).map(part).collect();
            let row = ObjectRow {
                seq: tx.next_seq(),
                is_null: true,
                size: PART_LEN * u64::from(count),
                etag: ETag { md5: [1; 16], part_count: Some(count) },
                data: Data::Manifest(blob_id(1 << 32)),
                append_count,
                ..ObjectRow::empty()
            };
            adjust_usage(tx, bucket, |usage| count_version(usage, &row, true, 1))?;
            tx.put(Key::manifest(blob_id(1 << 32)), Manifest { parts }.encode());
            tx.put(Key::head(bucket, OBJECT), row.encode());
            Ok(bucket)
        });
        world
    }

    fn run<T>(&mut self, plan: impl FnOnce(&mut Tx<'_>) -> Result<T, EngineError>) -> T {
        let (view, rng) = (self.view.clone(), SeededRng::new(self.clock));
        let mut tx = Tx::new(&view, &rng, 1, Seq(self.clock));
        let value = plan(&mut tx).expect("the plan goes through");
        self.clock = tx.next_seq().0;
        self.view.apply(tx);
        value
    }

    fn head(&self) -> ObjectRow {
        let row = &self.view.rows[&Key::head(self.bucket, OBJECT)[..]];
        ObjectRow::decode(row).expect("is well formed")
    }

    /// Appends a part; returns the bytes of rows that were read and written.
    fn append(&mut self, number: u16) -> (usize, usize) {
        let (before, head, bucket) = (self.view.clone(), self.head(), self.bucket);
        let plan = AppendPlan {
            offset: head.size,
            seen: Some(head.seq),
            part: part(number),
            payload: Payload::Stored,
            draft: ObjectRow::empty(),
            checksum: None,
            manifest_id: blob_id((1 << 32) + u64::from(number)),
            conditions: Conditions::default(),
        };
        let read = self.run(|tx| {
            append(tx, bucket, OBJECT, plan)?;
            Ok(tx.read_bytes())
        });
        let is_new =
            |key: &[u8], value: &[u8]| before.rows.get(key).is_none_or(|old| old[..] != *value);
        let written = self.view.rows.iter().filter(|(key, value)| is_new(key, value));
        (read, written.map(|(key, value)| key.len() + value.len()).sum())
    }

    /// The blobs of the object in order, and how deep lists lie. Each list must belong to its entry.
    fn blobs(&self, list: BlobId, depth: usize) -> (Vec<BlobId>, usize) {
        let list = Manifest::decode(&self.view.rows[&Key::manifest(list)[..]]);
        let (mut blobs, mut deepest, mut last) = (Vec::new(), depth, 0);
        for part in list.expect("is well formed").parts {
            assert!(part.number > last, "numbers rise");
            last = part.number;
            match &part.data {
                Data::Slice { base, base_size, offset: 0 } if *base_size == part.size => {
                    let Data::Manifest(inner) = **base else { panic!("is no list") };
                    assert!(self.view.rows.contains_key(&Key::blob_ref(inner, part.seq)[..]));
                    let (inside, deep) = self.blobs(inner, depth + 1);
                    assert_eq!(inside.len() as u64 * PART_LEN, part.size);
                    blobs.extend(inside);
                    deepest = deepest.max(deep);
                }
                Data::Blob { blob, .. } => blobs.push(*blob),
                other => panic!("{other:?}"),
            }
        }
        (blobs, deepest)
    }

    #[track_caller]
    fn check(&self, count: u16) {
        let Data::Manifest(list) = self.head().data else { panic!("has a list") };
        let (blobs, depth) = self.blobs(list, 1);
        let expected: Vec<BlobId> = (1..=count).map(|number| blob_id(u64::from(number))).collect();
        assert_eq!(blobs, expected);
        // With pieces of other objects in it: three.
        assert!(depth <= 2, "{depth} lists deep");
        assert_eq!(self.head().size, PART_LEN * u64::from(count));
    }
}

/// Goal: the committer does not wait for how many parts an object has. Method: appends to objects of so many
/// parts, none of which is merged.
#[test]
fn an_append_costs_the_same_whatever_the_object_is_made_of() {
    for count in [10, 190, 200, 1_000, 9_000] {
        let mut world = World::new(count, 0);
        for number in count + 1..=count + 900 {
            let (read, written) = world.append(number);
            assert!(read <= APPEND_LEN_MAX, "{read} bytes read of {number} parts");
            assert!(written <= APPEND_LEN_MAX, "{written} bytes written of {number} parts");
        }
        world.check(count + 900);
    }
}

/// Goal: so it is for a long list that appends of an earlier version made, but for the first time.
#[test]
fn a_long_list_of_an_earlier_version_is_rewritten_once() {
    let mut world = World::new(9_000, 8_000);
    world.append(9_001);
    for number in 9_002..=9_500 {
        let (read, written) = world.append(number);
        assert!(read.max(written) <= APPEND_LEN_MAX, "{read} read, {written} written");
    }
    world.check(9_500);
}
