//! What the server is and holds.

use super::{Answer, Call, MinioError, Reply};
use crate::rights::Right;
use drystone_base::Timestamp;
use drystone_engine::deployment::{DeploymentStatus, DriveState, DriveStatus};
use drystone_engine::{BucketRow, Usage};
use drystone_identity::DEFAULT_ACCOUNT;
use serde_json::{Value, json};

/// All buckets with what is in them.
fn buckets(call: &Call<'_>) -> Result<Vec<(BucketRow, Usage)>, MinioError> {
    let failed = |error: drystone_engine::EngineError| {
        tracing::error!(%error, "the administration failed");
        MinioError::failed()
    };
    let buckets = call.engine.list_buckets("", "", usize::MAX).map_err(failed)?;
    let mut all = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        let usage = call.engine.usage(&bucket.name).map_err(failed)?;
        all.push((bucket, usage));
    }
    Ok(all)
}

/// The state of all drives; reading it blocks for a moment.
async fn status(call: &Call<'_>) -> Result<DeploymentStatus, MinioError> {
    let drives = call.drives.clone();
    match tokio::task::spawn_blocking(move || drives.status()).await {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => {
            tracing::error!(error, "the administration failed");
            Err(MinioError::failed())
        }
        Err(_) => Err(MinioError::failed()),
    }
}

fn is_offline(drive: &DriveStatus) -> bool {
    matches!(drive.state, DriveState::Missing | DriveState::Failed)
}

fn drives(status: &DeploymentStatus) -> Vec<Value> {
    let one = |(index, drive): (usize, &DriveStatus)| {
        json!({
            "endpoint": drive.path,
            "path": drive.path,
            "state": match drive.state {
                DriveState::Online | DriveState::Filling | DriveState::Draining => "ok",
                DriveState::Failed => "faulty",
                DriveState::Missing => "offline",
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

fn backend(status: &DeploymentStatus) -> Value {
    let offline = status.drives.iter().filter(|drive| is_offline(drive)).count();
    let parity = status.shape.parity;
    json!({
        "backendType": "Erasure",
        "onlineDisks": status.drives.len() - offline,
        "offlineDisks": offline,
        "standardSCParity": parity,
        "rrSCParity": parity.saturating_sub(1),
        "totalSets": [1],
        "totalDrivesPerSet": [status.drives.len()],
    })
}

pub(super) async fn info(call: &Call<'_>) -> Answer {
    call.actor.require_server(Right::ServerInfo)?;
    let buckets = buckets(call)?;
    let status = status(call).await?;
    let sum = |pick: fn(&Usage) -> u64| buckets.iter().map(|(_, usage)| pick(usage)).sum::<u64>();
    Ok(Reply::Plain(json!({
        "mode": "online",
        "region": call.about.region,
        "sqsARN": [],
        "deploymentID": call.about.deployment,
        "buckets": { "count": buckets.len() },
        "objects": { "count": sum(|usage| usage.current_count) },
        "versions": { "count": sum(|usage| usage.current_count + usage.noncurrent_count) },
        "deletemarkers": { "count": sum(|usage| usage.marker_count) },
        "usage": { "size": sum(|usage| usage.current_bytes + usage.noncurrent_bytes) },
        "services": {},
        "backend": backend(&status),
        "servers": [{
            "state": "online",
            "endpoint": call.request.header("host").unwrap_or_default(),
            "scheme": if call.request.is_secure { "https" } else { "http" },
            "uptime": call.actor.directory.now_ms().saturating_sub(call.about.started_ms) / 1000,
            "version": env!("CARGO_PKG_VERSION"),
            "commitID": "",
            "network": {},
            "drives": drives(&status),
            "poolNumber": 1,
        }],
    })))
}

pub(super) async fn storage(call: &Call<'_>) -> Answer {
    call.actor.require_server(Right::StorageInfo)?;
    let status = status(call).await?;
    Ok(Reply::Plain(json!({ "Disks": drives(&status), "Backend": backend(&status) })))
}

pub(super) fn usage(call: &Call<'_>) -> Answer {
    call.actor.require_server(Right::DataUsageInfo)?;
    let buckets = buckets(call)?;
    let sum = |pick: fn(&Usage) -> u64| buckets.iter().map(|(_, usage)| pick(usage)).sum::<u64>();
    let each: serde_json::Map<_, _> = buckets
        .iter()
        .map(|(bucket, usage)| {
            let value = json!({
                "size": usage.current_bytes + usage.noncurrent_bytes,
                "objectsCount": usage.current_count,
                "versionsCount": usage.current_count + usage.noncurrent_count,
                "deleteMarkersCount": usage.marker_count,
            });
            (bucket.name.clone(), value)
        })
        .collect();
    Ok(Reply::Plain(json!({
        "lastUpdate": Timestamp(call.actor.directory.now_ms()).to_iso(),
        "objectsCount": sum(|usage| usage.current_count),
        "versionsCount": sum(|usage| usage.current_count + usage.noncurrent_count),
        "deleteMarkersCount": sum(|usage| usage.marker_count),
        "objectsTotalSize": sum(|usage| usage.current_bytes + usage.noncurrent_bytes),
        "bucketsCount": buckets.len(),
        "bucketsUsageInfo": each,
    })))
}

/// What the caller may do in which bucket. Everybody may ask this about himself.
pub(super) async fn account(call: &Call<'_>) -> Answer {
    let mut listed = Vec::new();
    for (bucket, usage) in buckets(call)? {
        let owner = if bucket.owner.is_empty() { DEFAULT_ACCOUNT } else { &bucket.owner };
        if owner != call.actor.account() {
            continue;
        }
        // A thousand decisions in one go would keep others waiting.
        tokio::task::yield_now().await;
        let arn = format!("arn:aws:s3:::{}", bucket.name);
        let read = call.actor.may_s3("s3:ListBucket", &arn);
        let write = call.actor.may_s3("s3:PutObject", &format!("{arn}/*"));
        if read || write {
            listed.push(json!({
                "name": bucket.name,
                "size": usage.current_bytes + usage.noncurrent_bytes,
                "objects": usage.current_count,
                "created": Timestamp(bucket.created_ms).to_iso(),
                "access": { "read": read, "write": write },
            }));
        }
    }
    let identity = call.actor.identity;
    let name = identity.user_name().unwrap_or(call.actor.directory.root_access_key());
    Ok(Reply::Plain(json!({
        "AccountName": name,
        "Server": backend(&status(call).await?),
        "Policy": null,
        "Buckets": listed,
    })))
}
