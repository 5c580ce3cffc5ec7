//! Requests to the other services of the server (administration, IAM, STS): their signatures are
//! checked here, what they mean is decided elsewhere.

use crate::answer::service_room_len;
use crate::auth::{Verifier, authenticate_service, sha256_hex};
use crate::authorize::still_known;
use crate::body::Body;
use crate::consumer::{of_identity, of_principal};
use crate::error::{S3Code, S3Error};
use crate::gateway::Gateway;
use crate::headers::printable;
use crate::host::{Domains, bucket_of_host};
use crate::intake::{Intake, Pace, Shares};
use crate::request::{S3Request, host_of};
use bytes::Bytes;
use drystone_engine::{Consumer, Engine, Share};
use drystone_iam::Principal;
use drystone_identity::Identity;
use http::{HeaderMap, HeaderValue, Request, Version};
use hyper::body::Incoming;
use std::net::IpAddr;
use std::sync::Arc;

/// Bytes that are read from someone who is not known yet.
const UNSIGNED_LEN_MAX: usize = 64 << 10;

/// A request whose signature is right, or that has none.
pub struct ServiceRequest {
    /// Method.
    pub method: http::Method,
    /// Path, decoded.
    pub path: String,
    /// Query, decoded.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: http::HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Who signed.
    pub identity: Option<Arc<Identity>>,
    /// Service that the signature is for; empty without one.
    pub service: String,
    /// Id of the request.
    pub request_id: String,
    /// With whom it takes turns.
    pub consumer: Consumer,
    /// Of the byte budget, for its answer.
    pub room: Option<Share>,
    /// Of the byte budget, for what the body holds.
    _shares: Shares,
}

impl ServiceRequest {
    /// Reserves what the answer takes if this may change something: it is not refused for want of memory when
    /// that is done.
    async fn with_room(mut self, engine: &Engine, version: Version) -> Result<Self, S3Error> {
        if let Some(len) = service_room_len(&self.method, version, self.body.len()) {
            self.room = Some(engine.for_consumer(self.consumer).reserve_answer(len).await?);
        }
        Ok(self)
    }
}

impl Gateway {
    /// Whether the host of a request names a bucket, a website or an access point. All paths are keys of
    /// objects there, and none leads to another service of the server.
    #[must_use]
    pub fn names_bucket(&self, uri: &http::Uri, headers: &HeaderMap) -> bool {
        let Domains { s3, website } = &self.config.domains;
        if s3.is_empty() && website.is_empty() {
            return false;
        }
        // A host that cannot be read is refused by S3, which says why.
        let Ok(host) = host_of(uri, headers) else { return true };
        bucket_of_host(&host, website).or_else(|| bucket_of_host(&host, s3)).is_some()
    }

    /// Reads a request to one of `services` whole, up to a length, and checks its signature. In any case
    /// there is a request id. What an address sends without a signature is counted together.
    ///
    /// # Errors
    ///
    /// `EntityTooLarge` for a body above `len_max` bytes, and the codes of the protocol page, §2.
    pub async fn take_in(
        &self,
        request: Request<Incoming>,
        services: &[&str],
        (len_max, peer): (usize, IpAddr),
    ) -> (String, Result<ServiceRequest, S3Error>) {
        let now_ms = self.engine.now_ms();
        let request_id = self.new_ids(now_ms).request_id;
        let (version, epoch) = (request.version(), self.config.directory.epoch());
        let token = request.headers().get("x-amz-security-token").and_then(printable);
        let token = token.map(str::to_owned);
        let taken = self.take_in_at(request, services, (len_max, peer), now_ms, &request_id).await;
        let taken = match taken {
            Ok(taken) => taken.with_room(&self.engine, version).await,
            Err(error) => Err(error),
        };
        // The body and the room may have taken as long as the sender liked.
        let taken = taken.and_then(|mut taken| {
            if let Some(identity) = taken.identity.take() {
                let (known, now_ms) = ((&identity, token.as_deref()), self.engine.now_ms());
                taken.identity = Some(still_known(&self.config.directory, known, epoch, now_ms)?);
            }
            Ok(taken)
        });
        (request_id, taken)
    }

    fn verifier_of_services(&self) -> Verifier<'_> {
        Verifier {
            directory: &self.config.directory,
            keys: self.keys(),
            region: &self.config.region,
            service: "s3",
            any_region: true,
            takes_v2: false,
        }
    }

    async fn take_in_at(
        &self,
        request: Request<Incoming>,
        services: &[&str],
        (len_max, peer): (usize, IpAddr),
        now_ms: u64,
        request_id: &str,
    ) -> Result<ServiceRequest, S3Error> {
        let (parts, incoming) = request.into_parts();
        let body = Body::new(incoming, &parts.extensions);
        let request = S3Request::parse(parts, &Domains::default(), now_ms)?;
        request.headers.check_lines()?;
        if request.content_length().is_some_and(|len| len > len_max as u64) {
            return Err(S3Code::EntityTooLarge.into());
        }
        let declared_len = request.content_length();
        let read = async |body: Body, len_max: usize, known: Option<&Identity>| {
            let principal = known.map_or(&Principal::Anonymous, |identity| &identity.principal);
            let engine = self.engine.for_consumer(of_principal(principal, peer));
            read_counted(&engine, known.is_some(), body, (declared_len, len_max)).await
        };
        let unsigned_max = len_max.min(UNSIGNED_LEN_MAX);
        let mut verifier = self.verifier_of_services();
        let (identity, (body, shares), service) = match request.header("authorization") {
            None => (None, read(body, unsigned_max, None).await?, String::new()),
            Some(text) => {
                let scope = |name: &&&str| text.contains(&format!("/{name}/aws4_request"));
                verifier.service =
                    services.iter().find(scope).or(services.first()).unwrap_or(&"s3");
                let check = |hash: &str| authenticate_service(&request, &verifier, text, hash);
                let (identity, body) = match request.header("x-amz-content-sha256") {
                    // Large bodies are held for known senders. All are signed: they say what is asked.
                    Some(declared) => {
                        let identity = check(declared)?;
                        let body = read(body, len_max, Some(&identity)).await?;
                        if declared != sha256_hex(&body.0) {
                            return Err(S3Code::XAmzContentSHA256Mismatch.into());
                        }
                        (identity, body)
                    }
                    None => {
                        let body = read(body, unsigned_max, None).await?;
                        (check(&sha256_hex(&body.0))?, body)
                    }
                };
                (Some(identity), body, verifier.service.to_owned())
            }
        };
        let query = request.query.into_iter().map(|(name, value, _)| (name, value)).collect();
        let S3Request { method, path, headers, .. } = request;
        Ok(ServiceRequest {
            method,
            path,
            query,
            headers: printable_headers(headers.into_map()),
            body,
            consumer: of_identity(identity.as_deref(), peer),
            room: None,
            identity,
            service,
            request_id: request_id.to_owned(),
            _shares: shares,
        })
    }
}

/// Makes the headers that conditions look at readable, with `?` in the place of other bytes: they must not be
/// taken for missing.
fn printable_headers(mut headers: HeaderMap) -> HeaderMap {
    for name in [http::header::USER_AGENT, http::header::REFERER] {
        let Some(value) = headers.get(&name).filter(|value| printable(value).is_none()) else {
            continue;
        };
        let readable = |byte: &u8| if byte.is_ascii() { *byte } else { b'?' };
        let bytes: Vec<u8> = value.as_bytes().iter().map(readable).collect();
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Reads a body whole, with what it holds taken from the byte budget: as it comes, and as what is made of it.
async fn read_counted(
    engine: &Engine,
    is_known: bool,
    mut body: Body,
    (declared_len, len_max): (Option<u64>, usize),
) -> Result<(Bytes, Shares), S3Error> {
    let len = declared_len.map_or(len_max as u64, |len| len.min(len_max as u64));
    let pace = Pace::of_document();
    body.keep_pace(pace.clone());
    let mut intake = Intake::new(engine, is_known, pace, len);
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await? {
        if whole.len() + piece.len() > len_max {
            return Err(S3Code::EntityTooLarge.into());
        }
        intake.keep(&mut whole, &piece).await?;
    }
    let shares = intake.end(whole.len(), 0).await?;
    Ok((whole.into(), shares))
}
