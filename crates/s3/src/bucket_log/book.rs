//! Lines on their way: gathered, stored before their requests are answered, delivered as objects.
//!
//! At least once: a line is forgotten only after the object that holds it is durable, or when its bucket logs
//! to another target and the old one is gone. Lines of a bucket whose target fails are cut to their part of
//! the room, the oldest stay; what is cut off is counted ([`Omitted`]).

use super::omitted::{Omitted, requests_of};
use super::rounds::{Rounds, Waiting};
use super::{Draft, LogTarget, Outcome, Source};
use crate::authorize::may_deliver;
use crate::encryption::{self, DefaultEncryption};
use crate::error::{S3Code, S3Error};
use crate::gateway::GatewayConfig;
use crate::uri::{decode_path, encode};
use crate::xml::parse;
use bytes::Bytes;
use drystone_base::{Rng, SystemRng, Timestamp, error_limited, hex, warn_limited};
use drystone_engine::plan::DocumentKind;
use drystone_engine::{
    AccessLogRow, ChecksumAlgorithm, Conditions, Engine, EngineError, FORGET_COUNT_MAX, LogFailure,
    LogShare, NewBlob, ObjectDraft, PutRequest,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of lines that make one row, about.
const PIECE_LEN: usize = 256 << 10;
/// Bytes of lines that are delivered at once.
const DELIVERY_LEN: usize = 8 << 20;
/// Bytes of rows in one commit. One commit is one frame, which a segment must hold.
const COMMIT_LEN: usize = 512 << 10;
/// First field of a stored piece.
const FORMAT: &str = "1";

/// Lines that wait. Clones share them.
#[derive(Clone)]
pub(crate) struct LogBook {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    rounds: Rounds,
    omitted: Omitted,
}

/// What became of the lines of buckets in one delivery: an error, if there was one.
type Outcomes = BTreeMap<String, Option<LogFailure>>;

impl LogBook {
    /// A book with the lines that an earlier process stored.
    pub(crate) fn new(engine: Engine) -> Self {
        let shared = Shared { engine, rounds: Rounds::new(), omitted: Omitted::default() };
        shared.each_row(|source, _, piece| {
            shared.engine.log_room().restore(&source.bucket, piece.len() as u64);
        });
        Self { shared: Arc::new(shared) }
    }

    /// Adds the lines of a request; they are durable when the future ends. Where there is no room for them,
    /// they are counted.
    pub(crate) fn add(
        &self,
        draft: &Draft,
        outcome: &Outcome<'_>,
        share: Option<LogShare>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let waits = self.keep(draft, &draft.lines(outcome), share);
        async move {
            if let Some(waits) = waits {
                waits.wait().await;
            }
        }
    }

    /// Adds lines, which are stored in the order in which they come, or counts them.
    pub(super) fn keep(
        &self,
        draft: &Draft,
        lines: &str,
        share: Option<LogShare>,
    ) -> Option<Waiting> {
        let (source, room) = (&draft.source, self.shared.engine.log_room());
        let len = lines.len() as u64 + source.head_len();
        let is_kept = match share {
            Some(share) => {
                share.keep(len);
                true
            }
            None => room.try_keep(&source.bucket, len),
        };
        let waits = is_kept.then(|| self.shared.gather(source, lines, len));
        if waits.is_none() {
            self.shared.omit(source, &draft.owner, requests_of(lines));
        }
        waits
    }

    /// Writes what is stored, and what was counted, into the target buckets. What cannot be written waits on.
    pub(crate) async fn deliver(&self, config: &GatewayConfig) {
        let mut outcomes = Outcomes::new();
        // Those that failed and of which nothing is left to try: the next line says whether they still do.
        let failing = self.shared.engine.log_room().failing();
        outcomes.extend(failing.into_iter().map(|bucket| (bucket, None)));
        self.shared.deliver_rows(config, None, &mut outcomes).await;
        self.shared.deliver_counts(config, &mut outcomes).await;
        self.shared.note(outcomes).await;
    }

    /// Writes what is stored of buckets that fill their room.
    pub(crate) async fn deliver_filling(&self, config: &GatewayConfig) {
        let filling = self.shared.engine.log_room().filling();
        if !filling.is_empty() {
            let mut outcomes = Outcomes::new();
            self.shared.deliver_rows(config, Some(&filling), &mut outcomes).await;
            self.shared.note(outcomes).await;
        }
    }

    /// Delivers what can be delivered, and stores the counts of the rest, which else end with the process.
    pub(crate) async fn close(&self, config: &GatewayConfig) {
        self.deliver(config).await;
        for (source, count) in self.shared.omitted.counts() {
            let pieces = pieces_of(&source, &count.line(&source, &config.region));
            if let Err(error) = self.shared.engine.append_access_log(pieces).await {
                error_limited!("a count of an access log is lost"; %error, bucket = source.bucket);
            }
        }
    }
}

impl Shared {
    /// Walks over all stored pieces that can be read.
    fn each_row(&self, mut visit: impl FnMut(&Source, &[u8], &[u8])) {
        let mut after = None;
        while let Ok(rows) = self.engine.access_log(after.as_deref(), DELIVERY_LEN) {
            let Some((last, _)) = rows.last() else { return };
            after = Some(last.clone());
            for (key, piece) in &rows {
                if let Some((source, _)) = parse_piece(piece) {
                    visit(&source, key, piece);
                }
            }
        }
    }

    /// Counts requests whose lines are not kept.
    fn omit(&self, source: &Source, owner: &str, requests: u64) {
        self.engine.log_room().omit(&source.bucket, requests);
        self.omitted.add(source, owner, requests, self.engine.now_ms());
        warn_limited!("requests are counted in an access log, without lines"; bucket = source.bucket);
    }

    /// Puts lines to those that wait, which are stored soon.
    fn gather(self: &Arc<Self>, source: &Source, lines: &str, held_len: u64) -> Waiting {
        let (waiting, must_store) = self.rounds.gather(source, lines, held_len);
        // A task of its own: the client of the first line may leave. At the end of the process there may be
        // no runtime any more.
        if must_store && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(self.clone().keep_storing());
        }
        waiting
    }

    /// Stores what was gathered, also after a panic of the task that did.
    async fn keep_storing(self: Arc<Self>) {
        loop {
            let ended = tokio::spawn(self.clone().store()).await;
            if ended.is_err() {
                error_limited!("storing lines of access logs failed: some may be lost");
            }
            if !self.rounds.must_store() {
                return;
            }
        }
    }

    /// Stores what was gathered, round after round, until nothing waits.
    async fn store(self: Arc<Self>) {
        let mut storing = self.rounds.store();
        while let Some(gathered) = storing.next_round() {
            let (mut rows, mut len) = (Vec::new(), 0);
            for (source, lines) in gathered {
                let pieces = pieces_of(&source, &lines.text);
                // From now on they hold what their rows have.
                let own_len = pieces.iter().map(|piece| piece.len() as u64).sum();
                self.engine.log_room().settle(&source.bucket, lines.held_len, own_len);
                for piece in pieces {
                    if len + piece.len() > COMMIT_LEN {
                        self.store_rows(std::mem::take(&mut rows)).await;
                        len = 0;
                    }
                    len += piece.len();
                    rows.push(piece);
                }
            }
            self.store_rows(rows).await;
        }
    }

    /// Stores rows, or counts their lines.
    async fn store_rows(&self, rows: Vec<Bytes>) {
        if let Err(error) = self.engine.append_access_log(rows.clone()).await {
            error_limited!("lines of access logs cannot be stored"; %error);
            for row in &rows {
                let Some((source, lines)) = parse_piece(row) else { continue };
                self.engine.log_room().release(&source.bucket, row.len() as u64);
                self.omit(&source, owner_of(lines), requests_of(lines));
            }
        }
    }

    /// Writes stored lines, of all buckets or of some.
    async fn deliver_rows(
        &self,
        config: &GatewayConfig,
        only: Option<&BTreeSet<String>>,
        outcomes: &mut Outcomes,
    ) {
        let mut after = None;
        loop {
            let rows = match self.engine.access_log(after.as_deref(), DELIVERY_LEN) {
                Ok(rows) => rows,
                Err(error) => {
                    return error_limited!("stored access logs cannot be read"; %error);
                }
            };
            let Some((last, _)) = rows.last() else { return };
            after = Some(last.clone());
            for (source, rows) in by_source(rows, only) {
                match self.write(config, &source, &rows.text).await {
                    Ok(()) => {
                        outcomes.entry(source.bucket.clone()).or_default();
                        self.forget(&source, rows).await;
                    }
                    Err(failure) => drop(outcomes.insert(source.bucket, Some(failure))),
                }
            }
        }
    }

    /// Writes the lines that stand for requests without lines of their own.
    async fn deliver_counts(&self, config: &GatewayConfig, outcomes: &mut Outcomes) {
        for (source, count) in self.omitted.counts() {
            if outcomes.get(&source.bucket).is_some_and(Option::is_some) {
                continue;
            }
            match self.write(config, &source, &count.line(&source, &config.region)).await {
                Ok(()) => self.omitted.subtract(&source, &count),
                Err(failure) => drop(outcomes.insert(source.bucket, Some(failure))),
            }
        }
    }

    /// Writes lines into their target, unless that is gone and named no more.
    async fn write(
        &self,
        config: &GatewayConfig,
        source: &Source,
        lines: &str,
    ) -> Result<(), LogFailure> {
        match write(&self.engine, config, source, lines).await {
            Ok(()) => Ok(()),
            Err(error) if error.code == S3Code::NoSuchBucket && !is_named(&self.engine, source) => {
                // There is nowhere to write to, and there will not be.
                warn_limited!("the former target of an access log is gone"; bucket = source.bucket);
                Ok(())
            }
            Err(error) => Err(failure_of(source, &error)),
        }
    }

    /// Forgets rows that are delivered.
    async fn forget(&self, source: &Source, rows: Rows) {
        let forget = |keys| self.engine.forget_access_log(keys);
        let release = |pieces: Vec<u64>| {
            self.engine.log_room().release(&source.bucket, pieces.into_iter().sum());
        };
        if let Err(error) = forget_in_steps(rows.pieces, forget, release).await {
            warn_limited!("an access log will be delivered twice"; %error, bucket = source.bucket);
        }
    }

    /// Says which buckets cannot be delivered, and cuts their lines to their part of the room.
    async fn note(&self, outcomes: Outcomes) {
        let room = self.engine.log_room();
        for (bucket, failed) in outcomes {
            let is_news = room.set_failing(&bucket, failed.clone());
            match failed {
                Some(LogFailure { code, target, reason }) if is_news => {
                    error_limited!("an access log cannot be delivered"; bucket, target, code, reason);
                }
                None if is_news => {
                    warn_limited!("an access log can be delivered again"; bucket);
                }
                _ => {}
            }
        }
        let overfull = room.overfull();
        if !overfull.is_empty() {
            self.cut(overfull).await;
        }
    }

    /// Forgets what buckets have beyond so many bytes, and counts it.
    async fn cut(&self, mut left: BTreeMap<String, u64>) {
        let mut cut = Vec::new();
        self.each_row(|source, key, piece| {
            let Some(left) = left.get_mut(&source.bucket) else { return };
            let len = piece.len() as u64;
            if *left >= len {
                *left -= len;
                return;
            }
            // The oldest stay, so nothing behind the first that goes.
            *left = 0;
            let lines = parse_piece(piece).map_or("", |(_, lines)| lines);
            let (owner, requests) = (owner_of(lines).to_owned(), requests_of(lines));
            cut.push((key.to_vec(), (source.clone(), owner, len, requests)));
        });
        let forget = |keys| self.engine.forget_access_log(keys);
        let count = |pieces: Vec<(Source, String, u64, u64)>| {
            let mut sums = BTreeMap::<Source, (String, u64, u64)>::new();
            for (source, owner, len, requests) in pieces {
                let (_, len_sum, sum) = sums.entry(source).or_insert((owner, 0, 0));
                *len_sum += len;
                *sum += requests;
            }
            for (source, (owner, len, requests)) in sums {
                self.engine.log_room().release(&source.bucket, len);
                self.omit(&source, &owner, requests);
            }
        };
        if let Err(error) = forget_in_steps(cut, forget, count).await {
            error_limited!("lines of access logs cannot be cut"; %error);
        }
    }
}

/// What an operator needs to know of a delivery that failed.
fn failure_of(source: &Source, error: &S3Error) -> LogFailure {
    let reason = match error.code {
        S3Code::NoSuchBucket => {
            "the target bucket does not exist: create it, or let the bucket log to another one"
                .to_owned()
        }
        _ => error.message.clone(),
    };
    LogFailure { code: error.code.name(), target: source.target.bucket.clone(), reason }
}

/// Rows of one source.
#[derive(Default)]
struct Rows {
    /// Keys of the rows, and their bytes.
    pieces: Vec<(Vec<u8>, u64)>,
    text: String,
}

/// Forgets stored pieces, as many at once as may be; `forgotten` is told after each step of what was said of
/// them, so that what is counted of them is right also if a later step fails.
async fn forget_in_steps<T, F: Future<Output = Result<(), EngineError>>>(
    pieces: Vec<(Vec<u8>, T)>,
    forget: impl Fn(Vec<Vec<u8>>) -> F,
    forgotten: impl Fn(Vec<T>),
) -> Result<(), EngineError> {
    let mut pieces = pieces.into_iter();
    loop {
        let (keys, said): (Vec<_>, Vec<_>) = pieces.by_ref().take(FORGET_COUNT_MAX).unzip();
        if keys.is_empty() {
            return Ok(());
        }
        forget(keys).await?;
        forgotten(said);
    }
}

/// Rows by their source, of all buckets or of some.
fn by_source(rows: Vec<AccessLogRow>, only: Option<&BTreeSet<String>>) -> BTreeMap<Source, Rows> {
    let mut sources = BTreeMap::<Source, Rows>::new();
    for (key, piece) in rows {
        let Some((source, lines)) = parse_piece(&piece) else {
            error_limited!("a stored piece of an access log cannot be read; it is kept");
            continue;
        };
        if only.is_some_and(|only| !only.contains(&source.bucket)) {
            continue;
        }
        let rows = sources.entry(source).or_default();
        rows.pieces.push((key, piece.len() as u64));
        rows.text.push_str(lines);
    }
    sources
}

/// First line of the pieces of a source.
fn head_of(source: &Source) -> String {
    let Source { bucket, account, target } = source;
    let kind = if target.is_partitioned { 'p' } else { 's' };
    let prefix = encode(&target.prefix, false);
    format!("{FORMAT} {bucket} {account} {} {kind} {prefix}\n", target.bucket)
}

/// Stored form of lines, cut between lines.
fn pieces_of(source: &Source, lines: &str) -> Vec<Bytes> {
    let head = head_of(source);
    let mut pieces = Vec::new();
    let mut piece = head.clone();
    for line in lines.split_inclusive('\n') {
        if piece.len() + line.len() > PIECE_LEN && piece.len() > head.len() {
            pieces.push(std::mem::replace(&mut piece, head.clone()).into());
        }
        piece.push_str(line);
    }
    pieces.push(piece.into());
    pieces
}

/// The owner of the bucket, which each line begins with.
fn owner_of(lines: &str) -> &str {
    lines.split(' ').next().unwrap_or_default()
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

/// Whether a bucket still logs to this target. What cannot be read is taken for yes: lines are kept.
fn is_named(engine: &Engine, source: &Source) -> bool {
    let bucket = match engine.find_bucket(&source.bucket) {
        Ok(bucket) => bucket,
        Err(error) => return !matches!(error, EngineError::BucketNotFound),
    };
    match engine.document(&bucket, DocumentKind::Logging, "") {
        Ok(None) => false,
        Ok(Some(bytes)) => parse(&bytes, "BucketLoggingStatus")
            .map_or(true, |root| LogTarget::of_document(&root).as_ref() == Some(&source.target)),
        Err(_) => true,
    }
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
    use std::cell::Cell;

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

    /// Goal: what is counted of pieces is what was forgotten, also if a step fails. Method: each step fails.
    #[tokio::test]
    async fn what_was_forgotten_before_a_failure_counts_as_forgotten() {
        let pieces = 3 * FORGET_COUNT_MAX as u64 + 7;
        for fails_at in 0..=4_u64 {
            let (left, sum) = (Cell::new(fails_at), Cell::new(0_u64));
            let forget = |keys: Vec<Vec<u8>>| {
                assert!(keys.len() <= FORGET_COUNT_MAX);
                let before = left.get();
                left.set(before.saturating_sub(1));
                std::future::ready(if before == 0 { Err(EngineError::Closed) } else { Ok(()) })
            };
            let all = (0..pieces).map(|n| (n.to_le_bytes().to_vec(), 1)).collect();
            let forgotten = |lens: Vec<u64>| sum.set(sum.get() + lens.iter().sum::<u64>());
            let outcome = forget_in_steps(all, forget, forgotten).await;
            assert_eq!(outcome.is_ok(), fails_at == 4);
            assert_eq!(sum.get(), pieces.min(fails_at * FORGET_COUNT_MAX as u64));
        }
    }

    #[test]
    fn pieces_are_cut_between_lines_and_read_back() {
        let line = format!("{}\n", "x".repeat(1000));
        let lines = line.repeat(600);
        let pieces = pieces_of(&source(), &lines);
        assert_eq!(pieces.len(), 3, "600 lines of 1001 bytes make three pieces");
        assert!(source().head_len() >= head_of(&source()).len() as u64);
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
