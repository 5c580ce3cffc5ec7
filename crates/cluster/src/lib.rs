//! Which drives hold what: codes, placement groups, how likely a loss is, and the drives of a process.
//!
//! # Invariants
//!
//! - A group is recorded; rendezvous hashing only proposes. No one computes where bytes are.
//! - A change of drives changes as few members of as few groups as weights allow, and a member that
//!   stays keeps its place: place decides which shard of a stripe it holds.
//!
//! # Not here
//!
//! Groups are rows of the catalog, bytes are in `drive`, and `engine` cuts, codes and moves them. All
//! but [`Pool`] is pure.
//!
//! Source: D. G. Thaler and C. V. Ravishankar, "Using name-based mappings to increase hit rates", 1998
//! (rendezvous hashing); J. Schindler's weighted form, score = -weight / ln(hash).

mod durability;
mod placement;
mod pool;
mod shape;
mod start;

pub use durability::{Durability, DurabilityInput};
pub use placement::{DriveId, DriveInfo, Group, group_count, plan_groups, propose, rehome};
pub use pool::{EraBefore, InProgress, Late, Moving, Pool, PoolDrive};
pub use shape::{Protection, Shape};
pub use start::{Found, Start, StartError, next_ballot, plan_salvage, plan_start};
