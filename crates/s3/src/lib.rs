//! The gateway: HTTP requests of S3 clients become calls of the engine.
//!
//! # Invariants
//!
//! - The operation table is closed: what is not implemented answers 501 before any effect.
//! - Order for every request: parse, route, authenticate, authorize, validate, effect.
//! - Nothing is committed unless every length, signature and checksum that the client declared is
//!   right.
//! - S3 error codes stand in one file, `error.rs`.
//!
//! # Not here
//!
//! What requests mean is in `engine`; sockets and TLS are in `server`.

mod access_point;
mod acl;
mod answer;
mod archive;
mod auth;
mod authorize;
mod body;
mod bucket_log;
mod checksum;
mod chunked;
mod consumer;
mod control;
mod cors;
mod document;
mod encryption;
mod error;
mod form;
mod gateway;
mod headers;
mod host;
mod inquiry;
mod intake;
mod mfa;
mod object_headers;
mod operation;
mod ops;
mod owner;
mod point_rules;
mod request;
mod resource_policy;
mod response;
mod route;
mod rules;
mod schema;
mod service;
mod uri;
mod website;
mod xml;

pub use answer::{HeadShare, OutBody, Receiver, headers_len};
pub use auth::metrics_token;
pub use authorize::Peer;
pub use body::AskedFor;
pub use error::{S3Code, S3Error};
pub use gateway::{Gateway, GatewayConfig, Served};
pub use host::Domains;
pub use inquiry::{BucketAccess, Inquirer};
pub use operation::{Level, Operation, Row, TABLE};
pub use ops::RestoreDelays;
pub use resource_policy::name_principals_by_id;
pub use response::{ResponseBody, SMALL_LEN_MAX};
pub use rules::BucketDefaults;
pub use service::ServiceRequest;

/// Entry points for fuzzing and property tests; no stable interface.
pub mod parsers {
    pub use crate::archive::read as read_archive;
    pub use crate::auth::{parse_authorization, parse_presigned};
    pub use crate::chunked::{ChunkDecoder, ChunkMode};
    pub use crate::form::{FormDecoder, FormPolicy, Part};
    pub use crate::ops::parse_copy_source;
    pub use crate::request::parse_range;
    pub use crate::uri::{decode_path, parse_query};
    pub use crate::xml::parse as parse_xml;
}
