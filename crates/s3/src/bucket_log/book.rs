//! Lines on their way: gathered, stored before their requests are answered, delivered as objects.
//!
//! At least once: a line is forgotten only after the object that holds it is durable.

use super::{Draft, LogTarget, Outcome, Source};
use crate::authorize::may_deliver;
use crate::encryption::{self, DefaultEncryption};
use crate::error::{S3Code, S3Error};
use crate::gateway::GatewayConfig;
use crate::uri::{decode_path, encode};
use drystone_base::sync::{Mutex, lock};
use drystone_base::{Rng, SystemRng, Timestamp, hex};
use drystone_engine::{
    ChecksumAlgorithm, Conditions, Engine, EngineError, NewBlob, ObjectDraft, PutRequest,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// Bytes of stored lines at most; more are dropped, with a warning.
const STORED_LEN_MAX: usize = 64 << 20;
/// Bytes of lines that make one row, about.
const PIECE_LEN: usize = 256 << 10;
/// Bytes of lines that are delivered at once.
const DELIVERY_LEN: usize = 8 << 20;
/// First field of a stored piece.
const FORMAT: &str = "1";

/// Lines that wait.
pub(crate) struct LogBook {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    gathered: Mutex<Gathered>,
    /// The last round of storing that has ended.
    stored_round: watch::Sender<u64>,
    /// Bytes of lines in rows, about.
    stored_len: AtomicUsize,
}

/// Lines that the next round will store.
#[derive(Default)]
struct Gathered {
    lines: BTreeMap<Source, String>,
    round: u64,
    is_storing: bool,
}

impl LogBook {
    pub(crate) fn new(engine: Engine) -> Self {
        let (stored_round, _) = watch::channel(0);
        let gathered = Mutex::new(Gathered { round: 1, ..Gathered::default() });
        let stored_len = AtomicUsize::new(0);
        Self { shared: Arc::new(Shared { engine, gathered, stored_round, stored_len }) }
    }

    /// Adds the lines of a request; they are durable when the future ends, or a warning says why not.
    pub(crate) fn add(
        &self,
        draft: &Draft,
        outcome: &Outcome<'_>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut stored = self.shared.stored_round.subscribe();
        let round = self.shared.gather(&draft.source, &draft.lines(outcome));
        async move {
            // The sender lives as long as the gateway, which waits here.
            let _ = stored.wait_for(|done| *done >= round).await;
        }
    }

    /// Writes everything that is stored into the target buckets. What cannot be written waits on.
    pub(crate) async fn deliver(&self, config: &GatewayConfig) {
        let (mut after, mut left) = (None, 0);
        loop {
            let engine = self.shared.engine.clone();
            let rows = match engine.access_log(after.as_deref(), DELIVERY_LEN) {
                Ok(rows) => rows,
                Err(error) => {
                    return tracing::error!(%error, "stored access logs cannot be read");
                }
            };
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            left += deliver_rows(&engine, config, rows).await;
        }
        self.shared.stored_len.store(left, Ordering::Relaxed);
    }
}

impl Shared {
    /// Puts lines to those that wait; returns the round that will store them.
    fn gather(self: &Arc<Self>, source: &Source, lines: &str) -> u64 {
        let mut gathered = lock(&self.gathered);
        gathered.lines.entry(source.clone()).or_default().push_str(lines);
        if !gathered.is_storing {
            gathered.is_storing = true;
            // A task of its own: the client of the first line may leave.
            tokio::spawn(self.clone().store());
        }
        gathered.round
    }

    /// Stores what was gathered, round after round, until nothing waits.
    async fn store(self: Arc<Self>) {
        while let Some((lines, round)) = self.take() {
            let len: usize = lines.values().map(String::len).sum();
            if self.stored_len.fetch_add(len, Ordering::Relaxed) + len > STORED_LEN_MAX {
                self.stored_len.fetch_sub(len, Ordering::Relaxed);
                tracing::warn!(len, "lines of access logs are dropped: too many wait for delivery");
            } else {
                let pieces = lines.iter().flat_map(|(source, lines)| pieces_of(source, lines));
                if let Err(error) = self.engine.append_access_log(pieces.collect()).await {
                    tracing::warn!(len, %error, "lines of access logs are lost");
                }
            }
            self.stored_round.send_replace(round);
        }
    }

    fn take(&self) -> Option<(BTreeMap<Source, String>, u64)> {
        let mut gathered = lock(&self.gathered);
        gathered.is_storing = !gathered.lines.is_empty();
        if !gathered.is_storing {
            return None;
        }
        gathered.round += 1;
        Some((std::mem::take(&mut gathered.lines), gathered.round - 1))
    }
}

/// Stored form of lines, cut between lines.
fn pieces_of(source: &Source, lines: &str) -> Vec<Vec<u8>> {
    let Source { bucket, account, target } = source;
    let kind = if target.is_partitioned { 'p' } else { 's' };
    let prefix = encode(&target.prefix, false);
    let head = format!("{FORMAT} {bucket} {account} {} {kind} {prefix}\n", target.bucket);
    let mut pieces = Vec::new();
    let mut piece = head.clone();
    for line in lines.split_inclusive('\n') {
        if piece.len() + line.len() > PIECE_LEN && piece.len() > head.len() {
            pieces.push(std::mem::replace(&mut piece, head.clone()).into_bytes());
        }
        piece.push_str(line);
    }
    pieces.push(piece.into_bytes());
    pieces
}

/// Reads a stored piece; `None` if it cannot be understood.
fn parse_piece(bytes: &[u8]) -> Option<(Source, &str)> {
    let (head, lines) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let fields: Vec<&str> = head.split(' ').collect();
    let [FORMAT, bucket, account, target, kind @ ("p" | "s"), prefix] = fields[..] else {
        return None;
    };
    let prefix = decode_path(prefix)?;
    let target = LogTarget { bucket: target.to_owned(), prefix, is_partitioned: kind == "p" };
    let source = Source { bucket: bucket.to_owned(), account: account.to_owned(), target };
    Some((source, lines))
}

/// Delivers rows, and forgets those that are delivered; returns the bytes that are left.
async fn deliver_rows(
    engine: &Engine,
    config: &GatewayConfig,
    rows: Vec<(Vec<u8>, bytes::Bytes)>,
) -> usize {
    let mut left = 0;
    let mut sources: BTreeMap<Source, (Vec<Vec<u8>>, String)> = BTreeMap::new();
    for (key, piece) in rows {
        let Some((source, lines)) = parse_piece(&piece) else {
            tracing::error!("a stored piece of an access log cannot be read; it is kept");
            left += piece.len();
            continue;
        };
        let (keys, text) = sources.entry(source).or_default();
        keys.push(key);
        text.push_str(lines);
    }
    for (source, (keys, lines)) in sources {
        match write(engine, config, &source, &lines).await {
            Ok(()) => {}
            // The target was deleted: there is nowhere to write to.
            Err(error) if error.code == S3Code::NoSuchBucket => {
                tracing::warn!(bucket = source.bucket, "the target of an access log is gone");
            }
            Err(error) => {
                let code = error.code.name();
                tracing::error!(bucket = source.bucket, code, "an access log is not delivered");
                left += lines.len();
                continue;
            }
        }
        if let Err(error) = engine.forget_access_log(keys).await {
            tracing::warn!(%error, "an access log will be delivered twice");
            left += lines.len();
        }
    }
    left
}

/// Key of a delivery.
pub(crate) fn key_of(source: &Source, region: &str, now_ms: u64) -> String {
    let Source { bucket, account, target } = source;
    // 2026-02-06T00:00:38.000Z
    let iso = Timestamp(now_ms).to_iso();
    let (day, time) = (&iso[..10], iso[11..19].replace(':', "-"));
    let mut unique = [0; 8];
    SystemRng.fill(&mut unique);
    let name = format!("{day}-{time}-{}", hex(&unique).to_uppercase());
    match target.is_partitioned {
        false => format!("{}{name}", target.prefix),
        true => {
            let day = day.replace('-', "/");
            format!("{}{account}/{region}/{bucket}/{day}/{name}", target.prefix)
        }
    }
}

async fn write(
    engine: &Engine,
    config: &GatewayConfig,
    source: &Source,
    lines: &str,
) -> Result<(), S3Error> {
    let target = &source.target;
    let bucket = engine.find_bucket(&target.bucket)?;
    let object = key_of(source, &config.region, engine.now_ms());
    may_deliver(engine, config, source, &bucket, &object)?;
    let object = object.into_bytes();
    let len = Some(lines.len() as u64);
    let algorithm = ChecksumAlgorithm::Crc64Nvme;
    let default = DefaultEncryption::of(engine, &bucket, config.encrypts_always)?;
    let sealing = encryption::of_server(&config.kms, &bucket, &object, &default).await?;
    let seal = sealing.seal.as_ref();
    let new =
        NewBlob { bucket: &bucket, object: &object, len, algorithm, storage_class: None, seal };
    let mut writer = engine.begin_blob(new)?;
    for piece in lines.as_bytes().chunks(64 << 10) {
        writer.write(piece).await?;
    }
    let stored = writer.finish().await?;
    let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
    let mut draft = ObjectDraft { headers, ..ObjectDraft::default() };
    sealing.describe(&mut draft);
    let (bucket, conditions) = (target.bucket.clone(), Conditions::default());
    let put = engine.put_object(PutRequest { bucket, object, draft, stored, conditions }).await;
    put.map(drop).map_err(|error: EngineError| error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        let target = LogTarget { bucket: "t".into(), prefix: "p /é".into(), is_partitioned: true };
        Source { bucket: "b".to_owned(), account: "000000000000".to_owned(), target }
    }

    #[test]
    fn keys_of_deliveries_are_partitioned() {
        let mut source = source();
        source.target.prefix = "p/".to_owned();
        let key = key_of(&source, "us-east-1", 1_770_336_038_000);
        let start = "p/000000000000/us-east-1/b/2026/02/06/2026-02-06-00-00-38-";
        assert_eq!(key.strip_prefix(start).map(str::len), Some(16), "{key}");
    }

    #[test]
    fn pieces_are_cut_between_lines_and_read_back() {
        let line = format!("{}\n", "x".repeat(1000));
        let lines = line.repeat(600);
        let pieces = pieces_of(&source(), &lines);
        assert_eq!(pieces.len(), 3, "600 lines of 1001 bytes make three pieces");
        let mut read = String::new();
        for piece in &pieces {
            let (of, lines) = parse_piece(piece).expect("a piece is read back");
            assert_eq!(of, source());
            assert!(lines.ends_with('\n'));
            read.push_str(lines);
        }
        assert_eq!(read, lines);
        for broken in ["", "1 b a t p", "2 b a t p x\n", "1 b a t q x\n", "1 b a t p x y\n"] {
            assert!(parse_piece(broken.as_bytes()).is_none(), "{broken:?}");
        }
    }
}
