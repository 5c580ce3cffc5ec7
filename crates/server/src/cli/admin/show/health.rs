//! What the server cannot do now, for people.

use drystone_admin_api::{Health, KeyService, Status};

/// A line for each thing that is not as it should be and that no drive alone explains.
pub(super) fn text(status: &Status) -> String {
    let Health { is_stopping, is_current, is_full, key_service, .. } = status.health;
    let mut text = String::new();
    if is_stopping {
        text += "STOPPING: requests in progress are let end, new ones are answered 503\n";
    }
    if !is_current {
        text += "NOT CURRENT: a drive does not say how it is; this is what was known before\n";
    }
    if key_service == KeyService::Gone {
        text += "KEY SERVICE: the server that keeps keys does not answer; what is encrypted under its keys \
                 cannot be written or read\n";
    }
    if is_full {
        let full = status.drives.iter().filter(|drive| drive.is_full);
        let paths: Vec<&str> = full.map(|drive| drive.path.as_str()).collect();
        text += &format!(
            "FULL: {}: new objects are refused with 507, reads and deletes go on; delete objects or \
             versions, or add a drive: drystone drive add\n",
            paths.join(", ")
        );
    }
    text
}
