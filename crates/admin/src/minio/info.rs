//! What the server is and holds.

use super::{Answer, Call, MinioError, Reply};
use crate::rights::Right;
use drystone_base::Timestamp;
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

fn drives(call: &Call<'_>) -> Result<Value, MinioError> {
    let space = call.engine.space().map_err(|_| MinioError::failed())?;
    Ok(json!([{
        "endpoint": "drive",
        "state": "ok",
        "uuid": call.about.deployment,
        "totalspace": space.total_bytes,
        "usedspace": space.total_bytes.saturating_sub(space.free_bytes),
        "availspace": space.free_bytes,
        "pool_index": 0,
        "set_index": 0,
        "disk_index": 0,
    }]))
}

fn backend() -> Value {
    json!({
        "backendType": "Erasure",
        "onlineDisks": 1,
        "offlineDisks": 0,
        "standardSCParity": 0,
        "rrSCParity": 0,
        "totalSets": [1],
        "totalDrivesPerSet": [1],
    })
}

pub(super) fn info(call: &Call<'_>) -> Answer {
    call.actor.require_server(Right::ServerInfo)?;
    let buckets = buckets(call)?;
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
        "backend": backend(),
        "servers": [{
            "state": "online",
            "endpoint": call.request.header("host").unwrap_or_default(),
            "scheme": if call.request.is_secure { "https" } else { "http" },
            "uptime": call.actor.directory.now_ms().saturating_sub(call.about.started_ms) / 1000,
            "version": env!("CARGO_PKG_VERSION"),
            "commitID": "",
            "network": {},
            "drives": drives(call)?,
            "poolNumber": 1,
        }],
    })))
}

pub(super) fn storage(call: &Call<'_>) -> Answer {
    call.actor.require_server(Right::StorageInfo)?;
    Ok(Reply::Plain(json!({ "Disks": drives(call)?, "Backend": backend() })))
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
        "Server": backend(),
        "Policy": null,
        "Buckets": listed,
    })))
}
