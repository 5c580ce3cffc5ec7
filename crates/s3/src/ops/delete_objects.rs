//! `DeleteObjects`: up to 1,000 independent deletes, each with its own result.

use super::{Handled, read_document};
use crate::auth::Verified;
use crate::authorize::{allow, as_it_is_now, delete_needs, is_decided_by_policy};
use crate::body::Body;
use crate::bucket_log::BatchDeletion;
use crate::error::{S3Code, S3Error};
use crate::gateway::Context;
use crate::headers::values::unquote;
use crate::mfa;
use crate::object_headers::bypasses_governance;
use crate::response::{ECHO_LEN_MAX, counted_xml};
use crate::xml::{Element, Xml, escaped_len_max, parse};
use drystone_base::limits::{DELETE_KEY_COUNT_MAX, KEY_LEN_BYTES_MAX};
use drystone_base::{ObjectKey, parse_http_date};
use drystone_engine::{ATTEMPT_COUNT_MAX, Conditions, DeleteOutcome, LENIENT_FROM, VersionRef};
use std::time::{Duration, Instant};

const ROOT: &str = "DeleteResult";
/// Bytes that the result of an entry takes besides its key and version.
const RESULT_LEN: u64 = 512;

/// One entry of the list.
struct Entry {
    key: String,
    version: Option<String>,
    /// Its `ETag`, as it was sent.
    tag: Option<String>,
    conditions: Conditions,
}

pub(crate) async fn run(
    context: &Context<'_>,
    verified: Verified,
    body: &mut Option<Body>,
) -> Handled {
    let request = &context.request;
    let name = request.bucket_name()?;
    let bucket = context.engine.find_bucket(name.as_str());
    let document = read_document(context, verified, body, 2 << 20).await?;
    if document.is_empty() {
        return Err(S3Code::MissingRequestBodyError.into());
    }
    let root = parse(&document, "Delete")?;
    let is_quiet = root.text_of("Quiet").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let bypasses = bypasses_governance(request);
    let entries: Result<Vec<_>, _> =
        root.children_named("Object").map(|element| entry(element, bypasses)).collect();
    let mut entries = entries?;
    if entries.is_empty() || entries.len() > DELETE_KEY_COUNT_MAX {
        return Err(S3Code::MalformedXML.into());
    }
    let lines = entries.iter().map(|e| context.batch_line_len(&e.key, e.version.as_deref()));
    context.reserve_line(lines.sum()).await?;
    // After the document, which is decoded before; before anything is deleted.
    let share = context.engine.reserve_answer(entries.iter().map(answer_len).sum()).await?;
    let bucket = match bucket {
        Ok(bucket) => Some(bucket),
        // Who may not delete in any such bucket is told no more than of one that is there.
        Err(error) => match all_refusals(context, name.as_str(), &entries).await? {
            refused if refused.iter().all(Option::is_some) => None,
            _ => return Err(error.into()),
        },
    };
    // A code is looked at for those only who may remove a version: wrong ones stop the right ones.
    if let Some(bucket) = &bucket
        && entries.iter().any(|entry| entry.version.is_some())
    {
        let refused = all_refusals(context, name.as_str(), &entries).await?;
        let mut pairs = entries.iter().zip(&refused);
        if pairs.any(|(entry, refused)| entry.version.is_some() && refused.is_none()) {
            let has_mfa = mfa::check(context, bucket).await?;
            entries.iter_mut().for_each(|entry| entry.conditions.has_mfa = has_mfa);
        }
    }
    let outcomes = delete_each(context, name.as_str(), &entries).await;
    let mut answer = Xml::new(ROOT);
    let mut deletions = Vec::with_capacity(entries.len());
    for (entry, outcome) in entries.iter().zip(outcomes) {
        if let Err(error) = &outcome
            && error.drop_connection
        {
            return Err(error.clone());
        }
        deletions.push(BatchDeletion {
            key: entry.key.clone(),
            version: entry.version.clone().unwrap_or_default(),
            error: outcome.as_ref().err().map(|error| error.code),
        });
        write_outcome(&mut answer, entry, outcome, is_quiet);
    }
    let mut reply = counted_xml(answer.finish(ROOT), share);
    reply.extensions_mut().insert(deletions);
    Ok(reply)
}

fn entry(element: &Element, bypasses_governance: bool) -> Result<Entry, S3Error> {
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let key = element.text_of("Key").filter(|key| !key.is_empty()).ok_or_else(malformed)?;
    let tag = element.text_of("ETag");
    let if_match = tag.map(|text| vec![unquote(text)]);
    let mut conditions = Conditions { if_match, bypasses_governance, ..Conditions::default() };
    if let Some(text) = element.text_of("Size") {
        conditions.if_match_size = Some(text.trim().parse().map_err(|_| malformed())?);
    }
    if let Some(text) = element.text_of("LastModifiedTime") {
        conditions.if_match_modified_ms = Some(parse_http_date(text).ok_or_else(malformed)?.0);
    }
    let version = element.text_of("VersionId").filter(|text| !text.is_empty());
    let (version, tag) = (version.map(str::to_owned), tag.map(str::to_owned));
    Ok(Entry { key: key.to_owned(), version, tag, conditions })
}

/// Time of one turn at decisions; one that began is ended.
const SLICE: Duration = Duration::from_millis(5);

/// Deletes each entry by the rights that its sender has when that is committed: it is decided on as often as
/// a commit that waits for its decision (`engine/src/commit.rs`).
async fn delete_each(
    context: &Context<'_>,
    bucket: &str,
    entries: &[Entry],
) -> Vec<Result<DeleteOutcome, S3Error>> {
    let (mut outcomes, mut left) = (Vec::new(), (0..entries.len()).collect::<Vec<_>>());
    outcomes.resize_with(entries.len(), || Err(S3Error::new(S3Code::OperationAborted)));
    for count in 1..=ATTEMPT_COUNT_MAX {
        if count > 1 {
            context.engine.forget_objects();
        }
        if count == LENIENT_FROM {
            context.engine.take_identities_as_they_are();
        }
        let wanted: Vec<_> = left.iter().map(|index| &entries[*index]).collect();
        // Handed in in order: the committer sees repeated keys as the client listed them.
        let begin = |entry| start(context, bucket, entry);
        let started = decide_each(context, bucket, &wanted, begin).await;
        for (index, started) in std::mem::take(&mut left).into_iter().zip(started) {
            outcomes[index] = match started {
                Ok(ticket) => ticket.await.map_err(S3Error::from),
                Err(error) => Err(error),
            };
            if matches!(&outcomes[index], Err(error) if error.decide_again) {
                left.push(index);
            }
        }
        if left.is_empty() {
            break;
        }
    }
    outcomes
}

/// As [`refusals`], of all entries and by what the sender may now.
async fn all_refusals(
    context: &Context<'_>,
    bucket: &str,
    entries: &[Entry],
) -> Result<Vec<Option<S3Error>>, S3Error> {
    let all: Vec<_> = entries.iter().collect();
    Ok(refusals(&as_it_is_now(context)?, bucket, &all).await)
}

/// The errors of those entries that may not be deleted.
async fn refusals(context: &Context<'_>, bucket: &str, entries: &[&Entry]) -> Vec<Option<S3Error>> {
    let decided = decide_each(context, bucket, entries, |_| Ok(())).await;
    decided.into_iter().map(Result::err).collect()
}

/// Decides on each entry by the rights that its sender has when it is its turn, and does at once what
/// follows.
async fn decide_each<'e, T>(
    context: &Context<'_>,
    bucket: &str,
    entries: &[&'e Entry],
    then: impl Fn(&'e Entry) -> Result<T, S3Error>,
) -> Vec<Result<T, S3Error>> {
    let mut decided = Vec::with_capacity(entries.len());
    while decided.len() < entries.len() {
        // A thousand decisions in one go would keep others waiting, and so would those of many requests of
        // one caller. Without a policy there is nothing to decide.
        let turn = match is_decided_by_policy(context, bucket) {
            true => Some(context.turn().await),
            false => None,
        };
        let (now, began) = (as_it_is_now(context), Instant::now());
        // There may be a policy by now.
        let is_long = now.as_ref().is_ok_and(|now| is_decided_by_policy(now, bucket));
        for entry in entries[decided.len()..].iter().copied() {
            decided.push(match &now {
                Ok(now) if is_long => may_delete(now, entry).and_then(|()| then(entry)),
                Ok(_) => then(entry),
                Err(error) => Err(error.clone()),
            });
            if is_long && began.elapsed() >= SLICE {
                break;
            }
        }
        // Before the turn ends: others that are ready to run ask for theirs meanwhile.
        if is_long {
            tokio::task::yield_now().await;
        }
        drop(turn);
    }
    decided
}

fn may_delete(context: &Context<'_>, entry: &Entry) -> Result<(), S3Error> {
    let conditions = &entry.conditions;
    let tells = conditions.if_match_size.is_some() || conditions.if_match_modified_ms.is_some();
    let tag = entry.tag.as_deref();
    let key = (entry.key.as_str(), entry.version.as_deref());
    let needs =
        delete_needs(&context.request, key, tells || tag.is_some_and(|tag| tag.trim() != "*"));
    let Some(tag) = tag else { return needs.iter().try_for_each(|need| allow(context, need)) };
    // Policies that demand a condition see that of the entry.
    let mut request = context.request.clone();
    request.headers.set("if-match", tag).ok_or(S3Code::MalformedXML)?;
    let context = context.with_request(request);
    needs.iter().try_for_each(|need| allow(&context, need))
}

/// What the result of an entry takes at most.
fn answer_len(entry: &Entry) -> u64 {
    let version = entry.version.as_deref().unwrap_or_default();
    escaped_len_max(entry.key.as_bytes()).min(5 * KEY_LEN_BYTES_MAX as u64)
        + escaped_len_max(version.as_bytes()).min(ECHO_LEN_MAX as u64)
        + RESULT_LEN
}

fn start(
    context: &Context<'_>,
    bucket: &str,
    entry: &Entry,
) -> Result<impl Future<Output = Result<DeleteOutcome, drystone_engine::EngineError>>, S3Error> {
    let key = ObjectKey::new(&entry.key)?;
    let version = match &entry.version {
        Some(text) => Some(VersionRef::parse(text).ok_or_else(|| {
            S3Error::with(S3Code::NoSuchVersion, "The version id is not one of this bucket.")
        })?),
        None => None,
    };
    let object = key.as_bytes().to_vec();
    Ok(context.engine.start_delete(bucket, object, version, entry.conditions.clone()))
}

fn write_outcome(
    answer: &mut Xml,
    entry: &Entry,
    outcome: Result<DeleteOutcome, S3Error>,
    is_quiet: bool,
) {
    match outcome {
        Ok(_) if is_quiet => {}
        Ok(outcome) => {
            answer.open("Deleted").text("Key", &entry.key);
            answer.text_if("VersionId", entry.version.as_deref());
            if outcome.is_marker {
                answer.bool("DeleteMarker", true);
                answer.text_if("DeleteMarkerVersionId", outcome.version.as_deref());
            }
            answer.close("Deleted");
        }
        Err(error) => {
            answer.open("Error");
            // A key that can exist is said in full, so that the client finds it.
            match entry.key.len() <= KEY_LEN_BYTES_MAX {
                true => drop(answer.text("Key", &entry.key)),
                false => drop(answer.echo("Key", &entry.key, ECHO_LEN_MAX)),
            }
            if let Some(version) = &entry.version {
                answer.echo("VersionId", version, ECHO_LEN_MAX);
            }
            answer.text("Code", error.code.name()).echo("Message", &error.message, ECHO_LEN_MAX);
            answer.close("Error");
        }
    }
}
