//! What the server is and holds.

use super::{Answer, Call, MinioError, Reply};
use crate::BucketAccess;
use crate::rights::Right;
use crate::state::{NOW, State};
use drystone_admin_api::{Health, KeyService};
use drystone_base::Timestamp;
use drystone_base::limits::BUCKET_COUNT_MAX;
use drystone_engine::deployment::{DeploymentStatus, DriveState, DriveStatus};
use drystone_engine::{BucketRow, BucketsAsked, EngineError, Usage};
use drystone_identity::DEFAULT_ACCOUNT;
use serde_json::{Value, json};
use std::sync::Arc;

/// Buckets that an answer names at most: as many as an account may have.
const NAMED_COUNT_MAX: usize = BUCKET_COUNT_MAX;
/// Bytes that an answer holds for each bucket that it names.
const NAMED_LEN: u64 = 1 << 10;
/// Buckets of one step where each is decided on, which may take 10 ms.
const DECIDED_COUNT_MAX: usize = 16;

fn failed(error: EngineError) -> MinioError {
    match error {
        EngineError::Busy => MinioError::busy(),
        error => {
            tracing::error!(%error, "the administration failed");
            MinioError::failed()
        }
    }
}

/// Looks at all buckets, or those of one account: in steps, each with a turn of its own.
async fn visit(
    call: &Call<'_>,
    (owner, limit): (Option<&str>, usize),
    mut visit: impl FnMut(BucketRow) -> Result<(), EngineError>,
) -> Result<(), MinioError> {
    let mut after = String::new();
    loop {
        let asked = BucketsAsked { prefix: "", after: &after, owner, limit };
        let step = || {
            let page = call.engine.list_buckets(&asked).map_err(failed)?;
            page.buckets.into_iter().try_for_each(&mut visit).map_err(failed)?;
            Ok::<_, MinioError>(page.next)
        };
        let Some(next) = call.actor.scan(step).await? else { return Ok(()) };
        after = next;
    }
}

/// Room for an answer that names these buckets, and how many it is for.
async fn room_for(call: &Call<'_>, owner: Option<&str>) -> Result<usize, MinioError> {
    let mut count = 0;
    visit(call, (owner, usize::MAX), |_| {
        count += 1;
        Ok(())
    })
    .await?;
    let count: usize = NAMED_COUNT_MAX.min(count);
    call.actor.room.reserve(count as u64 * NAMED_LEN).await?;
    call.actor.look_again()?;
    Ok(count)
}

/// What is in all buckets together.
#[derive(Default)]
struct Sums {
    buckets: u64,
    objects: u64,
    versions: u64,
    markers: u64,
    bytes: u64,
}

impl Sums {
    fn add(&mut self, usage: &Usage) {
        self.buckets += 1;
        self.objects += usage.current_count;
        self.versions += usage.current_count + usage.noncurrent_count;
        self.markers += usage.marker_count;
        self.bytes += usage.current_bytes + usage.noncurrent_bytes;
    }
}

/// The state of the server, with its drives.
async fn state(call: &Call<'_>) -> Result<(Arc<DeploymentStatus>, Health), MinioError> {
    let State { drives, health, .. } = call.admin.state(NOW).await;
    drives.map(|status| (status, health)).ok_or_else(MinioError::failed)
}

fn drives(status: &DeploymentStatus) -> Vec<Value> {
    let one = |(index, drive): (usize, &DriveStatus)| {
        json!({
            "endpoint": drive.path,
            "path": drive.path,
            "state": match drive.state {
                DriveState::Online | DriveState::Filling | DriveState::Draining => "ok",
                DriveState::Failed => "faulty",
                DriveState::Missing | DriveState::NotTrusted => "offline",
            },
            "healing": drive.state == DriveState::Filling,
            "uuid": drive.id.to_string(),
            "totalspace": drive.total_bytes,
            "usedspace": drive.total_bytes.saturating_sub(drive.free_bytes),
            "availspace": drive.free_bytes,
            "pool_index": 0,
            "set_index": 0,
            "disk_index": index,
        })
    };
    status.drives.iter().enumerate().map(one).collect()
}

fn backend(status: &DeploymentStatus, health: &Health) -> Value {
    let parity = status.shape.parity;
    json!({
        "backendType": "Erasure",
        "onlineDisks": health.drives_online,
        "offlineDisks": health.drives_offline,
        "standardSCParity": parity,
        "rrSCParity": parity.saturating_sub(1),
        "totalSets": [1],
        "totalDrivesPerSet": [status.drives.len()],
    })
}

pub(super) async fn info(call: &Call<'_>) -> Answer {
    call.actor.require_server(Right::ServerInfo)?;
    let mut sums = Sums::default();
    visit(call, (None, usize::MAX), |bucket| {
        sums.add(&call.engine.usage_of(bucket.id)?);
        Ok(())
    })
    .await?;
    let (status, health) = state(call).await?;
    let endpoint = call.request.header("host").unwrap_or_default();
    let kms = match health.key_service {
        KeyService::None => json!({}),
        KeyService::Answers => json!({ "status": "online" }),
        KeyService::Gone => json!({ "status": "offline" }),
    };
    Ok(Reply::Plain(json!({
        "health": health,
        "mode": "online",
        "region": call.about.region,
        "sqsARN": [],
        "deploymentID": call.about.deployment,
        "buckets": { "count": sums.buckets },
        "objects": { "count": sums.objects },
        "versions": { "count": sums.versions },
        "deletemarkers": { "count": sums.markers },
        "usage": { "size": sums.bytes },
        "services": { "kms": kms },
        "backend": backend(&status, &health),
        "servers": [{
            "state": "online",
            "endpoint": endpoint,
            "scheme": if call.request.is_secure { "https" } else { "http" },
            "uptime": call.actor.directory.now_ms().saturating_sub(call.about.started_ms) / 1000,
            "version": env!("CARGO_PKG_VERSION"),
            "commitID": "",
            "network": { endpoint: "online" },
            "drives": drives(&status),
            "poolNumber": 1,
        }],
    })))
}

pub(super) async fn storage(call: &Call<'_>) -> Answer {
    call.actor.require_server(Right::StorageInfo)?;
    let (status, health) = state(call).await?;
    Ok(Reply::Plain(json!({ "Disks": drives(&status), "Backend": backend(&status, &health) })))
}

pub(super) async fn usage(call: &Call<'_>) -> Answer {
    call.actor.require_server(Right::DataUsageInfo)?;
    let (mut sums, mut each) = (Sums::default(), serde_json::Map::new());
    let room = room_for(call, None).await?;
    visit(call, (None, usize::MAX), |bucket| {
        let usage = call.engine.usage_of(bucket.id)?;
        sums.add(&usage);
        if each.len() >= room {
            return Ok(());
        }
        let value = json!({
            "size": usage.current_bytes + usage.noncurrent_bytes,
            "objectsCount": usage.current_count,
            "versionsCount": usage.current_count + usage.noncurrent_count,
            "deleteMarkersCount": usage.marker_count,
        });
        each.insert(bucket.name, value);
        Ok(())
    })
    .await?;
    let answer = json!({
        "lastUpdate": Timestamp(call.actor.directory.now_ms()).to_iso(),
        "objectsCount": sums.objects,
        "versionsCount": sums.versions,
        "deleteMarkersCount": sums.markers,
        "objectsTotalSize": sums.bytes,
        "bucketsCount": sums.buckets,
        "bucketsUsageInfo": each,
    });
    Ok(Reply::Plain(answer))
}

/// What the caller may do in which bucket. Everybody may ask this about himself. A bucket is named if one of
/// the rights is there that MinIO asks for, and what is in it is told to those who may list it; none is named
/// to whom lists of buckets are denied.
pub(super) async fn account(call: &Call<'_>) -> Answer {
    let account = call.actor.account();
    let owner = if account == DEFAULT_ACCOUNT { "" } else { account };
    let mut listed = Vec::new();
    let room = if call.denies_lists() { 0 } else { room_for(call, Some(owner)).await? };
    let name_allowed = |bucket: BucketRow| {
        let BucketAccess { lists, locates, writes } = call.access_to(&bucket.name);
        if !(lists || locates || writes) || listed.len() >= room {
            return Ok(());
        }
        let mut named = json!({
            "name": bucket.name,
            "created": Timestamp(bucket.created_ms).to_iso(),
            "access": { "read": lists, "write": writes },
        });
        if lists {
            let usage = call.engine.usage_of(bucket.id)?;
            named["size"] = json!(usage.current_bytes + usage.noncurrent_bytes);
            named["objects"] = json!(usage.current_count);
        }
        listed.push(named);
        Ok(())
    };
    if room > 0 {
        visit(call, (Some(owner), DECIDED_COUNT_MAX), name_allowed).await?;
    }
    let identity = call.actor.identity;
    // The owner of another account has nothing to do with the key of this one's.
    let owner = match account == DEFAULT_ACCOUNT {
        true => call.actor.directory.root_access_key(),
        false => &identity.access_key,
    };
    let name = identity.user_name().unwrap_or(owner);
    let (status, health) = state(call).await?;
    let answer = json!({
        "AccountName": name,
        "Server": backend(&status, &health),
        "Policy": null,
        "Buckets": listed,
    });
    Ok(Reply::Plain(answer))
}
