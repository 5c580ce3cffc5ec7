//! One drive of a deployment, on its way to being open.

use super::trust::{self, Trust};
use super::{DeploymentConfig, Rebuild};
use crate::error::EngineError;
use drystone_base::{DecodeError, Reader, Writer};
use drystone_catalog::{Catalog, CatalogError};
use drystone_cluster::{
    DriveId, DriveInfo, Found, PoolDrive, Start, StartError, next_ballot, plan_salvage, plan_start,
};
use drystone_drive::{
    Drive, DriveConfig, DriveError, Super, raise_term, read_sealed, read_super, write_super,
};
use drystone_index::{Index, IndexError};
use drystone_io::Disk;
use drystone_keyring::{DriveKeys, KeyringError};
use drystone_log::drive_of_segments;
use std::io;
use std::sync::Arc;

const ROW_FORMAT: u8 = 1;

/// Where a drive is.
#[derive(Clone)]
pub struct Place {
    /// For people, and for its indexes.
    pub path: String,
    /// Its files.
    pub disk: Arc<dyn Disk>,
    /// What fails together at large.
    pub zone: String,
    /// What fails together.
    pub node: String,
}

/// Which index of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Rows of the catalog.
    Catalog,
    /// Places of shards.
    Drive,
}

/// Where indexes are.
pub trait Indexes: Send + Sync {
    /// Opens an index of the drive at a path; `anew` throws it away first. One that cannot be understood
    /// is thrown away too.
    ///
    /// # Errors
    ///
    /// It can neither be opened nor made.
    fn open(&self, path: &str, kind: IndexKind, anew: bool) -> Result<Arc<dyn Index>, IndexError>;

    /// Throws an index away that is not open.
    ///
    /// # Errors
    ///
    /// It is still there.
    fn discard(&self, path: &str, kind: IndexKind) -> Result<(), IndexError>;
}

/// Why a deployment cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The drives that were found are not what is needed.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A drive cannot be used.
    #[error("the drive at {path} cannot be used")]
    At {
        /// Where.
        path: String,
        /// Why.
        #[source]
        source: Box<OpenError>,
    },
    /// A drive cannot be used.
    #[error("the drive cannot be used")]
    Drive(#[from] DriveError),
    /// The catalog cannot be used.
    #[error("the catalog cannot be used")]
    Catalog(#[from] CatalogError),
    /// An index cannot be used.
    #[error("the index cannot be used")]
    Index(#[from] IndexError),
    /// A thread cannot be started.
    #[error("a thread cannot be started")]
    Thread(#[source] io::Error),
    /// What a drive says of itself has no seal of this deployment.
    #[error(
        "it is not trusted: its file super was not written by this deployment. Find out who writes the \
         drive; to use it again, empty it and put it in with `drystone drive replace`"
    )]
    NotTrusted,
    /// The file in which a drive says what it is was put in the place of another drive's.
    #[error(
        "its file super is that of another drive: its segments are those of drive {drive}. Find out who \
         writes the drive; put its own super back, or empty it and put it in with `drystone drive replace`"
    )]
    OtherSuper {
        /// The drive that it is.
        drive: DriveId,
    },
    /// A drive that holds the catalog lacks frames that no other has any more: an old copy of it was put
    /// back.
    #[error(
        "drive {drive} is from another time: it lacks more of the catalog than others can give it"
    )]
    FarBehind {
        /// Which.
        drive: DriveId,
    },
    /// The drives are sealed under a key that the keyring does not have.
    #[error("the drives are sealed under another keyring")]
    WrongKeyring(#[source] KeyringError),
    /// The request cannot be carried out; the text says why.
    #[error("{0}")]
    Refused(String),
    /// The engine failed.
    #[error("the store failed")]
    Engine(#[from] EngineError),
}

impl From<drystone_log::LogError> for OpenError {
    fn from(error: drystone_log::LogError) -> Self {
        Self::Drive(error.into())
    }
}

/// A drive that is open.
pub(super) struct Member {
    pub(super) place: Place,
    pub(super) identity: Super,
    pub(super) drive: Drive,
    /// Members of the view have one.
    pub(super) catalog_index: Option<Arc<dyn Index>>,
}

impl Member {
    pub(super) fn id(&self) -> DriveId {
        DriveId(self.identity.drive)
    }

    pub(super) fn info(&self) -> DriveInfo {
        let weight = self.place.disk.space().map_or(1, |space| space.total_bytes);
        let (zone, node) = (self.place.zone.clone(), self.place.node.clone());
        DriveInfo { id: self.id(), weight, zone, node }
    }

    /// Opens log and indexes of a drive.
    pub(super) fn open(
        place: Place,
        identity: Super,
        in_view: bool,
        config: &DeploymentConfig,
    ) -> Result<Self, OpenError> {
        let open = |kind| config.indexes.open(&place.path, kind, config.rebuild != Rebuild::Needed);
        let catalog_index = if in_view { Some(open(IndexKind::Catalog)?) } else { None };
        let lsn_floor = match &catalog_index {
            Some(index) => Catalog::position_in(&**index)?,
            None => 0,
        };
        let open_drive = |index| {
            let drive_config = DriveConfig {
                identity: identity.clone(),
                write_ahead_len: config.write_ahead_len,
                lsn_floor,
                bug: config.bug,
            };
            Drive::open(place.disk.clone(), index, drive_config)
        };
        let drive = match open_drive(open(IndexKind::Drive)?) {
            // It can be opened, but not read.
            Err(DriveError::Index(error)) => {
                let reason = error.reason;
                tracing::error!(path = place.path, reason, "the index of a drive is rebuilt");
                open_drive(config.indexes.open(&place.path, IndexKind::Drive, true)?)?
            }
            opened => opened?,
        };
        for damage in drive.log().damage() {
            tracing::error!(path = place.path, ?damage, "a segment is damaged");
        }
        for file in drive.log().strange_files() {
            tracing::error!(
                path = place.path,
                file,
                "a file in the place of a segment is left alone"
            );
        }
        Ok(Self { place, identity, drive, catalog_index })
    }
}

/// Drives that were opened together.
pub(super) struct Opened {
    pub(super) start: Start,
    pub(super) members: Vec<Member>,
    /// Where drives are that are not trusted, and what they say they are.
    pub(super) refused: Vec<(String, DriveId)>,
    /// What identities are sealed with; none before they have seals.
    pub(super) keys: Option<Arc<DriveKeys>>,
}

/// Reads what the drives say, plans the start, and opens them. `distrusted`: see [`try_open`]. Where
/// there are several, one that fails counts as missing, and the start is planned again.
pub(super) fn open_all(
    mut places: Vec<Place>,
    distrusted: &[DriveId],
    config: &DeploymentConfig,
) -> Result<Opened, OpenError> {
    let is_alone = places.len() == 1;
    let mut refused = Vec::new();
    loop {
        let failed = match try_open(&places, distrusted, config) {
            Ok(opened) => return Ok(Opened { refused, ..opened }),
            Err(Failure::Whole(error)) => return Err(error),
            Err(Failure::At(at, source)) => {
                let path = places[at].path.clone();
                match source {
                    OpenError::NotTrusted => {
                        if let Ok(Some(said)) = read_super(&*places[at].disk) {
                            refused.push((path.clone(), DriveId(said.drive)));
                        }
                    }
                    OpenError::OtherSuper { drive } => refused.push((path.clone(), drive)),
                    _ => {}
                }
                let was_taken_out = matches!(source, OpenError::Start(StartError::Removed(_)));
                let error = OpenError::At { path, source: Box::new(source) };
                if is_alone {
                    return Err(error);
                }
                match was_taken_out {
                    true => tracing::warn!(
                        path = places[at].path,
                        "this directory is not part of the store any more, its drive was taken out: do not \
                         name it; it may be removed"
                    ),
                    false => tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "a drive counts as missing"
                    ),
                }
                at
            }
        };
        places.remove(failed);
        if places.is_empty() {
            return Err(OpenError::Refused("no drive can be used".to_owned()));
        }
    }
}

enum Failure {
    Whole(OpenError),
    At(usize, OpenError),
}

/// Reads what the drives say of themselves, as far as that is believed. Says whether they have seals, so
/// that what is written from now on gets one.
fn read_identities(
    places: &[Place],
    config: &DeploymentConfig,
) -> Result<(Vec<Super>, bool), Failure> {
    let at = |at: usize| move |error: OpenError| Failure::At(at, error);
    let mut said = Vec::new();
    for (number, place) in places.iter().enumerate() {
        let read = match &config.keyring {
            Some(keyring) => read_sealed(&*place.disk, keyring),
            None => read_super(&*place.disk).map(|read| read.map(|identity| (identity, None))),
        };
        let read = read.map_err(|error| at(number)(error.into()))?;
        let none = || OpenError::Refused("it is empty".to_owned());
        let read = read.ok_or_else(none).map_err(at(number))?;
        let segments = drive_of_segments(&*place.disk).map_err(DriveError::from);
        let segments = segments.map_err(|error| at(number)(error.into()))?;
        if let Some(drive) = segments.filter(|drive| *drive != read.0.drive) {
            return Err(at(number)(OpenError::OtherSuper { drive: DriveId(drive) }));
        }
        said.push(read);
    }
    let accepts_lost = config.accepts_lost_keyring;
    let trust = trust::judge(&said, config.keyring.as_deref(), accepts_lost);
    if trust.iter().all(|trust| *trust == Trust::Refused)
        && let Some(error) = trust::unknown_key(&said)
    {
        return Err(Failure::Whole(OpenError::WrongKeyring(error)));
    }
    if let Some((one, other)) = trust::mixed(&said, &trust) {
        let path = |number: usize| places[number].path.clone();
        return Err(Failure::Whole(StartError::Mixed(path(one), path(other)).into()));
    }
    if let Some(number) = trust.iter().position(|trust| *trust == Trust::Refused) {
        return Err(at(number)(OpenError::NotTrusted));
    }
    let is_sealed = said.iter().any(trust::holds);
    let identities = said.into_iter().zip(trust).map(|((mut identity, _), trust)| {
        if trust == Trust::ShardsOnly {
            trust::shards_only(&mut identity);
        }
        identity
    });
    Ok((identities.collect(), is_sealed))
}

fn plan(
    places: &[Place],
    identities: &[Super],
    distrusted: &[DriveId],
    config: &DeploymentConfig,
) -> Result<Start, Failure> {
    let ids = |keys: &[[u8; 16]]| keys.iter().copied().map(DriveId).collect::<Vec<_>>();
    let found: Vec<Found> = places
        .iter()
        .zip(identities)
        .map(|(place, identity)| Found {
            path: place.path.clone(),
            deployment: identity.deployment,
            drive: DriveId(identity.drive),
            view: ids(&identity.view),
            view_term: identity.view_term,
            roster: ids(&identity.roster),
        })
        .collect();
    let plan = match config.rebuild {
        Rebuild::Catalog => plan_salvage,
        Rebuild::Needed | Rebuild::Indexes => plan_start,
    };
    let mut start = plan(&found).map_err(|error| match &error {
        // It was taken out: the others do not wait for it.
        StartError::Removed(path) => {
            let number = places.iter().position(|place| place.path == *path);
            Failure::At(number.expect("it is one of these"), error.into())
        }
        _ => Failure::Whole(error.into()),
    })?;
    start.distrust(distrusted);
    Ok(start)
}

/// Drives of the view whose copy of the catalog is distrusted leave it, unless none is left.
fn try_open(
    places: &[Place],
    distrusted: &[DriveId],
    config: &DeploymentConfig,
) -> Result<Opened, Failure> {
    let at = |at: usize| move |error: OpenError| Failure::At(at, error);
    let (mut identities, is_sealed) = read_identities(places, config)?;
    let mut start = plan(places, &identities, distrusted, config)?;
    // Without the keyring nothing that a drive says can be changed but its term.
    let is_keyless = config.keyring.is_none()
        && !config.accepts_lost_keyring
        && identities.iter().any(|identity| identity.seal.is_some());
    start.is_read_only |= is_keyless;
    let keyring = config.keyring.as_ref().filter(|_| is_sealed);
    let keys = keyring.map(|keyring| Arc::new(keyring.drive_keys(&identities[0].deployment)));
    let write = |number: usize, identity: &mut Super| {
        let disk = &*places[number].disk;
        let written = match is_keyless {
            true => raise_term(disk, identity, identity.term),
            false => write_super(disk, identity, keys.as_deref()),
        };
        written.map_err(|error| at(number)(error.into()))
    };
    let term = identities.iter().map(|identity| identity.term).max().unwrap_or(0) + 1;
    // Also a view that stays is recorded again: it may have been written on few drives only before the
    // process that wrote it stopped.
    let records_view = start.roster.len() > 1 && !start.is_read_only;
    let ballot = next_ballot(identities.iter().map(|said| (said.promised, said.view_term)));
    if records_view {
        for (number, identity) in identities.iter_mut().enumerate() {
            identity.promised = ballot;
            write(number, identity)?;
        }
    }
    for (number, identity) in identities.iter_mut().enumerate() {
        identity.term = term;
        if records_view {
            identity.view_term = ballot;
            identity.roster = start.roster.iter().map(|id| id.0).collect();
            identity.view = start.view.iter().map(|id| id.0).collect();
        }
        write(number, identity)?;
    }
    let mut members = Vec::new();
    for (number, (place, identity)) in places.iter().zip(identities).enumerate() {
        let in_view = start.view.contains(&DriveId(identity.drive));
        let member = Member::open(place.clone(), identity, in_view, config);
        members.push(member.map_err(at(number))?);
    }
    Ok(Opened { start, members, refused: Vec::new(), keys })
}

/// Row of a drive: format, weight, zone, node, path.
pub(super) fn encode_row(drive: &PoolDrive) -> Vec<u8> {
    let mut w = Writer::new();
    w.u8(ROW_FORMAT).u64(drive.info.weight).bytes(drive.info.zone.as_bytes());
    w.bytes(drive.info.node.as_bytes()).bytes(drive.path.as_bytes());
    w.finish()
}

/// Reads the row of a drive, and the rest of its key.
pub(super) fn decode_row(id: &[u8], row: &[u8]) -> Result<(DriveInfo, String), DecodeError> {
    let mut r = Reader::new(row, "drive row");
    if r.u8()? != ROW_FORMAT {
        return Err(r.malformed());
    }
    let id = DriveId(id.try_into().map_err(|_| r.malformed())?);
    let weight = r.u64()?;
    let mut text = || Ok(String::from_utf8_lossy(r.bytes()?).into_owned());
    let (zone, node, path) = (text()?, text()?, text()?);
    Ok((DriveInfo { id, weight, zone, node }, path))
}
