//! Which drives hold what: codes, placement groups, and how likely a loss is. Pure.
//!
//! # Invariants
//!
//! - A group is recorded; rendezvous hashing only proposes. Nobody computes where bytes are.
//! - A change of drives changes as few members of as few groups as weights allow, and a member that
//!   stays keeps its place: place decides which shard of a stripe it holds.
//!
//! # Not here
//!
//! I/O. Groups are rows of the catalog, bytes are in `drive`, and `engine` moves them.
//!
//! Source: D. G. Thaler and C. V. Ravishankar, "Using name-based mappings to increase hit rates", 1998
//! (rendezvous hashing); J. Schindler's weighted form, score = -weight / ln(hash).

mod durability;
mod placement;
mod shape;

pub use durability::{Durability, DurabilityInput};
pub use placement::{DriveId, DriveInfo, Group, group_count, plan_groups, propose, rehome};
pub use shape::{Protection, Shape};
