//! The single committer: evaluates plans in order, logs what they change, applies what is durable.
//!
//! It is written as a machine that is stepped: [`Committer::work`] takes requests and reports of the
//! log, and never blocks. A thread steps it in the server; simulations step it themselves.

use crate::catalog::IndexView;
use crate::error::CatalogError;
use crate::frame::{Frame, FrameChange, HintPatch};
use crate::guard::RowGuard;
use crate::key::{Family, Key};
use crate::mirrors::{DriveKey, Mirrors, Outcome, Outcomes, Verdict};
use crate::tx::{Decision, RowValue, Tx, View, first_of};
use bytes::Bytes;
use drystone_base::sync::{self, Condvar, Mutex, MutexGuard};
use drystone_base::{Cache, Clock, Rng, Seq};
use drystone_index::{Change, Index, KeyRange};
use drystone_log::{Chain, Location, RecordInput, RecordKind, encoded_len_bytes};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Name of the catalog's frames as a source of its index.
pub(crate) const SOURCE: u8 = 1;
/// Requests evaluated into one batch at most.
const BATCH_REQUEST_COUNT_MAX: usize = 512;
/// Bytes of payloads and rows in one batch, about.
const BATCH_LEN_MAX: u64 = 2 << 20;
/// Bytes of a row in a frame beyond key and value, its seal included, at most.
const ROW_EXTRA_LEN: usize = 64;
/// Bytes of a record beyond its payload, at most.
const RECORD_EXTRA_LEN: usize = 256;
/// Bytes of rows that are kept at most.
const HOT_LEN_MAX: usize = 4 << 20;
/// A member of the view that is later than the first by so much leaves.
const LATE_AFTER: Duration = Duration::from_secs(1);
/// Batches on their way to the drive at most; more would only make the queue invisible.
const BATCHES_IN_FLIGHT_MAX: usize = 2;

/// A mistake built in on purpose, so that tests can prove that they would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeededBug {
    /// Replies go out before the frame is durable.
    ReplyEarly,
    /// Rows are applied to the index before the frame is durable.
    ApplyEarly,
    /// Plans do not see the batches in flight.
    IgnoreOverlay,
    /// The hybrid clock starts again from the wall clock.
    ForgetClock,
}

pub(crate) type Reply = Box<dyn FnOnce(Result<(), CatalogError>) + Send>;
pub(crate) type Plan = Box<dyn FnOnce(&mut Tx<'_>) -> Planned + Send>;

/// What came of a plan: whether its changes count, and who is told.
pub(crate) struct Planned {
    pub(crate) commit: bool,
    pub(crate) reply: Reply,
}

/// Turns a typed plan into one that delivers its outcome through `give`.
pub(crate) fn erase<T: Send + 'static>(
    plan: impl FnOnce(&mut Tx<'_>) -> Result<Decision<T>, CatalogError> + Send + 'static,
    give: impl FnOnce(Result<T, CatalogError>) + Send + 'static,
) -> Plan {
    Box::new(move |tx| {
        let planned = plan(tx);
        let settled = tx.take_settled();
        let give = move |outcome| {
            settled.into_iter().for_each(|work| work());
            give(outcome);
        };
        match planned {
            Ok(Decision::Commit(value)) => {
                Planned { commit: true, reply: Box::new(move |r| give(r.map(|()| value))) }
            }
            Ok(Decision::Reject(value)) => {
                Planned { commit: false, reply: Box::new(move |r| give(r.map(|()| value))) }
            }
            Err(error) => Planned { commit: false, reply: Box::new(move |_| give(Err(error))) },
        }
    })
}

type Report = (u64, DriveKey, Outcome);
/// Something that is done to the mirrors while no batch is on its way.
pub(crate) type Control = Box<dyn FnOnce(&mut Mirrors) + Send>;

#[derive(Default)]
struct Inbox {
    requests: VecDeque<Plan>,
    reports: VecDeque<Report>,
    controls: VecDeque<Control>,
    closed: bool,
}

/// What waits for the committer.
#[derive(Default)]
pub(crate) struct Mailbox {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        sync::lock(&self.inbox)
    }
    /// Hands a plan in; gives it back when the catalog is closed.
    pub(crate) fn request(&self, plan: Plan) -> Result<(), Plan> {
        let mut inbox = self.lock();
        if inbox.closed {
            return Err(plan);
        }
        inbox.requests.push_back(plan);
        drop(inbox);
        self.arrived.notify_one();
        Ok(())
    }
    fn report(&self, report: Report) {
        self.lock().reports.push_back(report);
        self.arrived.notify_one();
    }
    /// Hands in something to be done to the mirrors; says whether that is still possible.
    pub(crate) fn control(&self, control: Control) -> bool {
        let mut inbox = self.lock();
        if inbox.closed {
            return false;
        }
        inbox.controls.push_back(control);
        drop(inbox);
        self.arrived.notify_one();
        true
    }
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

struct Batch {
    number: u64,
    changes: Vec<FrameChange>,
    clock: Seq,
    replies: Vec<Reply>,
    /// What the members of the view say; no one is asked about a batch without changes.
    outcomes: Outcomes,
    sent: Instant,
}

pub(crate) struct Committer {
    mirrors: Mirrors,
    index: Arc<dyn Index>,
    guard: Arc<RowGuard>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    mailbox: Arc<Mailbox>,
    bug: Option<SeededBug>,
    /// Rows of the batches in flight, with the number of the batch that set them last.
    overlay: BTreeMap<Bytes, (u64, Option<Bytes>)>,
    /// Committed rows that nearly every plan reads: buckets and their usage.
    hot: RefCell<Cache<Bytes, Bytes>>,
    in_flight: VecDeque<Batch>,
    next_batch: u64,
    seq: Seq,
    /// The next batch begins a new chain in the log.
    chain_starts: bool,
    /// The drive failed: nothing is committed any more.
    failed: bool,
    /// Nothing was to be committed from the start.
    is_read_only: bool,
}

/// The rows as they will be when all batches in flight are durable.
struct OverlayView<'a> {
    committer: &'a Committer,
    /// Changes of the batch that is being built.
    building: &'a BTreeMap<Bytes, Option<RowValue>>,
}

impl View for OverlayView<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
        if let Some(value) = self.building.get(key) {
            return Ok(value.as_ref().map(|value| value.bytes.clone()));
        }
        match self.committer.overlay.get(key) {
            Some((_, value)) if self.committer.bug != Some(SeededBug::IgnoreOverlay) => {
                Ok(value.clone())
            }
            _ => self.committer.committed(key),
        }
    }

    fn first(&self, range: KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
        first_of(self.building, range, |range| self.committer.first_below(range))
    }
}

impl Committer {
    pub(crate) fn new(
        mirrors: Mirrors,
        (index, guard): (Arc<dyn Index>, Arc<RowGuard>),
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        seq: Seq,
        bug: Option<SeededBug>,
    ) -> Self {
        Self {
            mirrors,
            index,
            guard,
            clock,
            rng,
            mailbox: Arc::default(),
            bug,
            overlay: BTreeMap::new(),
            hot: RefCell::new(Cache::new(HOT_LEN_MAX)),
            in_flight: VecDeque::new(),
            next_batch: 1,
            seq,
            chain_starts: true,
            failed: false,
            is_read_only: false,
        }
    }

    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        self.mailbox.clone()
    }

    /// Nothing is committed from now on.
    pub(crate) fn refuse_changes(&mut self) {
        (self.failed, self.is_read_only) = (true, true);
    }

    /// The committed value of a row.
    fn committed(&self, key: &[u8]) -> Result<Option<Bytes>, CatalogError> {
        let rows = IndexView { index: &*self.index, guard: &self.guard };
        if !is_hot(key) {
            return rows.get(key);
        }
        if let Some(value) = self.hot.borrow_mut().get(key) {
            return Ok(Some(value));
        }
        let value = rows.get(key)?;
        if let Some(value) = &value {
            let weight = key.len() + value.len();
            // Copied: a value of the index may be a slice of a block that would be held with it.
            let value = Bytes::copy_from_slice(value);
            self.hot.borrow_mut().insert(Bytes::copy_from_slice(key), value, weight);
        }
        Ok(value)
    }

    /// The first row of a range in the overlay and the index.
    fn first_below(&self, range: KeyRange) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
        let bounds = (range.0.clone().map(Bytes::from), range.1.clone().map(Bytes::from));
        let laid: BTreeMap<Bytes, Option<RowValue>> = self
            .overlay
            .range::<Bytes, _>(bounds)
            .map(|(key, (_, value))| {
                let value = value.clone().map(|bytes| RowValue { bytes, hint: None });
                (key.clone(), value)
            })
            .collect();
        let rows = IndexView { index: &*self.index, guard: &self.guard };
        first_of(&laid, range, |range| rows.first(range))
    }

    /// The body of the committer's thread: returns when the catalog is closed and nothing is in
    /// flight.
    pub(crate) fn run(&mut self) {
        let mailbox = self.mailbox.clone();
        loop {
            {
                let mut inbox = mailbox.lock();
                loop {
                    let can_evaluate = self.in_flight.len() < BATCHES_IN_FLIGHT_MAX;
                    let can_control = self.in_flight.is_empty() && !inbox.controls.is_empty();
                    let can_evaluate = can_evaluate && inbox.controls.is_empty();
                    let work = !inbox.reports.is_empty()
                        || can_control
                        || (can_evaluate && !inbox.requests.is_empty());
                    if work {
                        break;
                    }
                    if inbox.closed && self.in_flight.is_empty() {
                        return;
                    }
                    let (waited, timed_out) = self.wait(&mailbox, inbox);
                    inbox = waited;
                    if timed_out {
                        break;
                    }
                }
            }
            self.work();
        }
    }

    /// Waits for something to arrive; where members of the view may be late, not indefinitely.
    fn wait<'a>(
        &self,
        mailbox: &'a Mailbox,
        inbox: MutexGuard<'a, Inbox>,
    ) -> (MutexGuard<'a, Inbox>, bool) {
        if self.in_flight.iter().all(|batch| batch.outcomes.len() < 2) {
            return (sync::wait(&mailbox.arrived, inbox), false);
        }
        sync::wait_timeout(&mailbox.arrived, inbox, LATE_AFTER / 4)
    }

    /// Takes everything that has arrived; says whether there was anything.
    pub(crate) fn work(&mut self) -> bool {
        let reports = std::mem::take(&mut self.mailbox.lock().reports);
        let mut any = !reports.is_empty();
        for (number, drive, outcome) in reports {
            let batch = self.in_flight.iter_mut().find(|batch| batch.number == number);
            if let Some(batch) = batch {
                batch.outcomes.insert(drive, Some(outcome));
            }
        }
        self.settle();
        let has_controls = !self.mailbox.lock().controls.is_empty();
        if has_controls && self.in_flight.is_empty() {
            let controls = std::mem::take(&mut self.mailbox.lock().controls);
            controls.into_iter().for_each(|control| control(&mut self.mirrors));
            any = true;
        } else if !has_controls && self.in_flight.len() < BATCHES_IN_FLIGHT_MAX {
            let requests: Vec<_> = {
                let mut inbox = self.mailbox.lock();
                let count = inbox.requests.len().min(BATCH_REQUEST_COUNT_MAX);
                inbox.requests.drain(..count).collect()
            };
            any |= !requests.is_empty();
            if !requests.is_empty() {
                self.evaluate(requests);
                self.settle();
            }
        }
        any
    }

    /// Evaluates plans into one batch and sends it to the log. Plans that no longer fit are put back.
    fn evaluate(&mut self, requests: Vec<Plan>) {
        let now_ms = self.clock.now_ms();
        let mut building: BTreeMap<Bytes, Option<RowValue>> = BTreeMap::new();
        let mut payloads: Vec<RecordInput> = Vec::new();
        let (mut replies, mut len, mut seq) = (Vec::new(), 0_u64, self.seq);
        let len_max = self.mirrors.batch_len_max();
        let mut requests = requests.into_iter();
        for plan in requests.by_ref() {
            if self.failed {
                replies.push(plan_refused(plan, self, &building, now_ms));
                continue;
            }
            let view = OverlayView { committer: self, building: &building };
            let mut tx = Tx::new(&view, &*self.rng, now_ms, seq);
            let planned = plan(&mut tx);
            if planned.commit
                && let Some(refused) = self.refusal_of(&tx)
            {
                replies.push(Box::new(move |_| (planned.reply)(Err(refused))));
                continue;
            }
            let Tx { changes, payloads: added, clock_used, .. } = tx;
            let own_len = if planned.commit { len_of(&changes, &added) } else { 0 };
            // A batch takes plans up to a quarter of what fits, and then at most one more.
            if own_len > len_max - len_max / 4 {
                // Alone, so that it takes nothing else along. Writing goes on.
                replies.push(Box::new(move |_| (planned.reply)(Err(CatalogError::TooLarge))));
                continue;
            }
            if planned.commit {
                let first = payloads.len();
                len += own_len;
                payloads.extend(added);
                seq = clock_used.unwrap_or(seq);
                for (key, value) in changes {
                    let value = value.map(|value| {
                        let hint = value.hint.map(|(at, index)| (at, index + first));
                        RowValue { hint, ..value }
                    });
                    building.insert(key, value);
                }
            }
            replies.push(planned.reply);
            if len >= BATCH_LEN_MAX.min(len_max / 4) {
                break;
            }
        }
        let left: Vec<_> = requests.collect();
        if !left.is_empty() {
            let mut inbox = self.mailbox.lock();
            left.into_iter().rev().for_each(|plan| inbox.requests.push_front(plan));
        }
        self.seq = seq;
        self.send(building, payloads, replies);
    }

    /// Why the changes of a transaction may not be written.
    fn refusal_of(&self, tx: &Tx<'_>) -> Option<CatalogError> {
        if !tx.changes.is_empty() && !tx.uses_reserve && self.mirrors.is_in_reserve() {
            return Some(CatalogError::Full);
        }
        let written = tx.changes.iter().filter(|(_, value)| value.is_some());
        written.map(|(key, _)| self.guard.may_write(key)).find_map(Result::err)
    }

    fn send(
        &mut self,
        building: BTreeMap<Bytes, Option<RowValue>>,
        mut records: Vec<RecordInput>,
        mut replies: Vec<Reply>,
    ) {
        let number = self.next_batch;
        self.next_batch += 1;
        if self.bug == Some(SeededBug::ReplyEarly) {
            replies.drain(..).for_each(|reply| reply(Ok(())));
        }
        let changes = changes_of(&building, &records, &self.guard);
        for (key, value) in building {
            self.overlay.insert(key, (number, value.map(|value| value.bytes)));
        }
        let frame = Frame { clock: self.seq, changes };
        let mut outcomes = Outcomes::new();
        if !frame.changes.is_empty() {
            let meta = self.mirrors.number_frame();
            records.push(RecordInput::new(RecordKind::Frame, meta, frame.encode()));
            let mailbox = self.mailbox.clone();
            let done = move |drive, outcome| mailbox.report((number, drive, outcome));
            let chain = if self.chain_starts { Chain::Start } else { Chain::Link };
            self.chain_starts = false;
            if self.bug == Some(SeededBug::ApplyEarly) {
                let changes = frame.changes.iter().cloned();
                let changes = changes.map(|c| Change { key: c.key, value: c.value }).collect();
                self.index.apply(SOURCE, self.mirrors.first().last_lsn() + 1, changes);
            }
            outcomes = self.mirrors.append(records, chain, done);
        }
        self.in_flight.push_back(Batch {
            number,
            changes: frame.changes,
            clock: frame.clock,
            replies,
            outcomes,
            sent: Instant::now(),
        });
    }

    /// Finishes the batches at the head of the line that every member has reported on.
    fn settle(&mut self) {
        while let Some(batch) = self.in_flight.front() {
            let is_late = batch.sent.elapsed() > LATE_AFTER;
            let verdict = match batch.outcomes.is_empty() {
                true => Verdict::Durable(Vec::new()),
                false => self.mirrors.judge(&batch.outcomes, is_late),
            };
            if matches!(verdict, Verdict::Waiting) {
                return;
            }
            let batch = self.in_flight.pop_front().expect("looked at just now");
            match verdict {
                Verdict::Durable(places) => {
                    if let Some((lsn, frame)) = places.last() {
                        self.apply(batch.number, *lsn, *frame, batch.clock, batch.changes);
                        self.mirrors.applied(&batch.outcomes);
                    }
                    batch.replies.into_iter().for_each(|reply| reply(Ok(())));
                }
                Verdict::Refused(error) => return self.drop_all(batch.replies, &error),
                _ => return self.drop_all(batch.replies, &CatalogError::Unknown),
            }
        }
    }

    fn apply(
        &mut self,
        number: u64,
        lsn: u64,
        frame: Location,
        clock: Seq,
        changes: Vec<FrameChange>,
    ) {
        for change in &changes {
            if self.overlay.get(&change.key).is_some_and(|(batch, _)| *batch == number) {
                self.overlay.remove(&change.key);
            }
        }
        let changes = resolve(frame, clock, changes);
        let hot = self.hot.get_mut();
        for Change { key, value } in changes.iter().filter(|change| is_hot(&change.key)) {
            match value {
                Some(stored) if hot.get(key).is_some() => {
                    let value = self.guard.without_seal(key, stored);
                    let weight = key.len() + value.len();
                    hot.insert(key.clone(), value, weight);
                }
                _ => hot.remove(key),
            }
        }
        self.index.apply(SOURCE, lsn, changes);
    }

    /// A batch failed: all batches built on it are dropped, none of them is evaluated again.
    fn drop_all(&mut self, replies: Vec<Reply>, error: &CatalogError) {
        let goes_on =
            matches!(error, CatalogError::Full | CatalogError::NotOpened | CatalogError::TooLarge);
        self.failed |= !goes_on;
        let later = std::mem::take(&mut self.in_flight);
        self.overlay.clear();
        self.chain_starts = true;
        // What the log still reports about these batches is of no interest: their numbers are gone.
        let all = replies.into_iter().chain(later.into_iter().flat_map(|batch| batch.replies));
        all.for_each(|reply| reply(Err(error.clone())));
    }
}

/// Bytes of a plan in the log, at most.
fn len_of(changes: &BTreeMap<Bytes, Option<RowValue>>, payloads: &[RecordInput]) -> u64 {
    let value = |value: &Option<RowValue>| value.as_ref().map_or(0, |value| value.bytes.len());
    let rows = changes.iter().map(|(key, row)| key.len() + value(row) + ROW_EXTRA_LEN);
    let records = payloads.iter().map(|record| record.payload.len() + RECORD_EXTRA_LEN);
    (rows.sum::<usize>() + records.sum::<usize>() + RECORD_EXTRA_LEN) as u64
}

/// Whether a row is of a kind that is kept at hand.
fn is_hot(key: &[u8]) -> bool {
    matches!(Family::of(key), Some(Family::BucketName | Family::Bucket | Family::Usage))
}

/// Answers a request after the drive failed. Its plan is not run.
fn plan_refused(
    plan: Plan,
    committer: &Committer,
    building: &BTreeMap<Bytes, Option<RowValue>>,
    now_ms: u64,
) -> Reply {
    let view = OverlayView { committer, building };
    let mut tx = Tx::new(&view, &*committer.rng, now_ms, committer.seq);
    let planned = plan(&mut tx);
    let refusal =
        if committer.is_read_only { CatalogError::ReadOnly } else { CatalogError::Closed };
    Box::new(move |_| (planned.reply)(Err(refusal)))
}

/// The changes of a frame, with seals, and with the distance from the frame's record back to each payload's
/// record.
fn changes_of(
    building: &BTreeMap<Bytes, Option<RowValue>>,
    payloads: &[RecordInput],
    guard: &RowGuard,
) -> Vec<FrameChange> {
    let mut distances = vec![0; payloads.len()];
    let mut distance = 0;
    for (index, record) in payloads.iter().enumerate().rev() {
        distance += encoded_len_bytes(record.meta.len(), record.payload.len()) as u32;
        distances[index] = distance;
    }
    building
        .iter()
        .map(|(key, value)| FrameChange {
            key: key.clone(),
            value: value
                .as_ref()
                .map(|value| guard.stored(key, &value.bytes, value.hint.is_some())),
            hint: value.as_ref().and_then(|value| value.hint).map(|(at, index)| HintPatch {
                at,
                distance: distances[index],
                payload_len: payloads[index].payload.len() as u32,
            }),
        })
        .collect()
}

/// What a durable frame changes in the index.
pub(crate) fn resolve(frame: Location, clock: Seq, changes: Vec<FrameChange>) -> Vec<Change> {
    let mut changes: Vec<_> = changes.into_iter().map(|change| change.resolved(frame)).collect();
    changes.push(Change {
        key: Bytes::from_static(Key::CLOCK),
        value: Some(Bytes::copy_from_slice(&clock.0.to_le_bytes())),
    });
    changes
}
