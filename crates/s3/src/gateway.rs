//! The way of a request through the gateway.

mod entry;
mod kept;
mod listing;

use crate::access_point;
use crate::answer::{OutBody, Receiver, room_len};
use crate::auth::{AuthType, KeyCache, Verified, Verifier, authenticate};
use crate::authorize::{
    AlsoDecided, Peer, Said, Sender, account_of, authorize, carry_out, hide_absence,
    identify_again, session_token, with_decisions,
};
use crate::body::Body;
use crate::bucket_log::{Draft, EntryBy, EntryLine, LineSlot, LogBook, Outcome};
use crate::consumer::consumer_of;
use crate::control;
use crate::cors::{Asked, preflight};
use crate::error::{S3Code, S3Error};
use crate::headers;
use crate::host::Domains;
use crate::object_headers::refuse_not_implemented;
use crate::operation::Operation;
use crate::ops;
use crate::ops::RestoreDelays;
use crate::request::S3Request;
use crate::response::{
    ECHO_LEN_MAX, Ids, Reply, SMALL_LEN_MAX, empty, error_document, finish, set, xml,
};
use crate::route::route;
use crate::rules::{BucketDefaults, RuleCache, Rules};
use crate::website;
use drystone_engine::{BucketRow, Engine, Turn, Turns};
use drystone_identity::Directory;
use drystone_kms::Kms;
pub(crate) use entry::Noted;
pub(crate) use listing::Listed;

use entry::{Entry, Known, Trace};
use http::{Request, Response};
use hyper::body::Incoming;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a gateway is made with.
pub struct GatewayConfig {
    /// Who there is.
    pub directory: Directory,
    /// What holds for buckets whose owners have not said anything about public access.
    pub bucket_defaults: BucketDefaults,
    /// Region that scopes must name.
    pub region: String,
    /// URLs and forms of signature version 2 are taken.
    pub takes_sigv2: bool,
    /// Domains below which hosts name buckets.
    pub domains: Domains,
    /// Name of this host in answers.
    pub host_id: String,
    /// Keys of objects.
    pub kms: Kms,
    /// Buckets without a default encryption encrypt with SSE-S3.
    pub encrypts_always: bool,
    /// Bytes of a single PUT at most.
    pub put_len_max: u64,
    /// How long restores of archived objects take.
    pub restore_delays: RestoreDelays,
}

/// The S3 front of an engine.
pub struct Gateway {
    pub(crate) engine: Engine,
    pub(crate) config: Arc<GatewayConfig>,
    keys: KeyCache,
    listings: Arc<Turns>,
    rules: Arc<RuleCache>,
    logs: LogBook,
    last_id: AtomicU64,
}

/// A response, and what the access log says about it.
pub struct Served {
    /// The response; `None` if the connection must be dropped without one.
    pub response: Option<Response<OutBody>>,
    /// Operation, if the request could be routed.
    pub operation: Option<&'static str>,
    /// Request id.
    pub request_id: String,
    /// Error code, if it is an error.
    pub error: Option<S3Code>,
}

/// Bytes of all headers together.
const HEADERS_LEN_MAX: usize = 32 << 10;

/// A request on its way through an operation.
pub(crate) struct Context<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) directory: &'a Directory,
    pub(crate) config: &'a Arc<GatewayConfig>,
    pub(crate) request: S3Request,
    /// The request as it was sent, where `request` is what a form or an archive makes of it.
    pub(crate) sent: Option<Arc<S3Request>>,
    pub(crate) ids: Ids,
    pub(crate) sender: Sender,
    pub(crate) rules: &'a Arc<RuleCache>,
    /// Epoch of the directory before the sender was looked up.
    pub(crate) directory_epoch: u64,
    /// Token of the sender's session, if it is one.
    pub(crate) token: Option<String>,
    /// What the document of the request says, where policies look at that.
    pub(crate) said: Option<Arc<Said>>,
    /// What was decided on since the operation began.
    pub(crate) also: AlsoDecided,
    /// What the request asks for, once that is known.
    pub(crate) operation: Option<Operation>,
    /// Room for its line in the access log of its bucket, if that has one.
    line: Option<Arc<LineSlot>>,
    /// The bucket of the request, as it was when that came.
    known: Option<Known>,
    listings: &'a Arc<Turns>,
}

impl<'a> Context<'a> {
    /// The same sender with another request.
    pub(crate) fn with_request(&self, request: S3Request) -> Context<'a> {
        let Self { engine, directory, config, rules, directory_epoch, .. } = *self;
        let (listings, operation, token) = (self.listings, self.operation, self.token.clone());
        let (ids, sender, line) = (self.ids.clone(), self.sender.clone(), self.line.clone());
        let (sent, said, known) = (self.sent.clone(), None, self.known.clone());
        Context {
            engine,
            directory,
            config,
            request,
            sent,
            ids,
            sender,
            rules,
            directory_epoch,
            token,
            said,
            also: AlsoDecided::default(),
            operation,
            line,
            known,
            listings,
        }
    }

    /// The request as it was sent: what is known of its transport.
    pub(crate) fn sent(&self) -> &S3Request {
        self.sent.as_deref().unwrap_or(&self.request)
    }

    /// The request was decided on: what it does may be committed.
    pub(crate) fn is_decided(&self) {
        let ends_ms = self.sender.identity.as_ref().and_then(|identity| identity.expires_ms);
        self.engine.decision_is_made(ends_ms);
    }

    /// The documents of a bucket that decide: those that it has now, although the row may be from before the
    /// last decision began.
    pub(crate) fn rules_of(&self, bucket: &BucketRow) -> Result<Arc<Rules>, S3Error> {
        let bucket = self.engine.find_bucket(&bucket.name)?;
        let known = self.known.as_ref().and_then(|known| known.rules_of(&bucket, self.directory));
        match known {
            Some(rules) => Ok(rules),
            None => Ok(self.rules.get(self.engine, self.directory, &bucket)?),
        }
    }

    /// Holds room for the line of the request, and for as many bytes more, before it has an effect: only for
    /// a request that is authenticated, whose line is promised.
    pub(crate) async fn reserve_line(&self, more_len: u64) -> Result<(), S3Error> {
        match (&self.line, &self.sender.identity) {
            (Some(line), Some(_)) => line.reserve(more_len).await,
            _ => Ok(()),
        }
    }

    /// Bytes of the line that says what became of a key of a batch; none if nothing is logged.
    pub(crate) fn batch_line_len(&self, key: &str, version: Option<&str>) -> u64 {
        let version = version.unwrap_or_default();
        self.line.as_ref().map_or(0, |line| line.batch_len(key, version))
    }

    /// The line of an entry of an archive, with room for it; `None` if nothing is logged.
    pub(crate) async fn entry_line(
        &self,
        key: &str,
        size: u64,
    ) -> Result<Option<EntryLine>, S3Error> {
        let Some(line) = &self.line else { return Ok(None) };
        let (sender, ids, config) = (self.sender.clone(), self.ids.clone(), self.config.clone());
        EntryLine::begin(line, EntryBy { sender, ids, config }, key, size).await.map(Some)
    }

    /// Waits for a turn at work that may take long: walks of listings, and decisions of requests that need
    /// many.
    pub(crate) async fn turn(&self) -> Turn {
        self.listings.turn(consumer_of(&self.sender)).await
    }
}

impl Gateway {
    /// A gateway in front of an engine.
    #[must_use]
    pub fn new(engine: Engine, config: GatewayConfig) -> Arc<Self> {
        let keys = KeyCache::default();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let listings = Turns::new(cores);
        let (rules, last_id) = (
            RuleCache::new(config.bucket_defaults, config.encrypts_always, &config.region),
            AtomicU64::new(0),
        );
        let logs = LogBook::new(engine.clone());
        let (config, rules) = (Arc::new(config), Arc::new(rules));
        Arc::new(Self { engine, config, keys, listings, rules, logs, last_id })
    }

    pub(crate) fn keys(&self) -> &KeyCache {
        &self.keys
    }

    /// 16 upper-case hexadecimal digits, rising with time.
    pub(crate) fn new_ids(&self, now_ms: u64) -> Ids {
        let wanted = now_ms << 20;
        let next = |last: u64| Some(wanted.max(last + 1));
        let last = self.last_id.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let id = wanted.max(last.unwrap_or(0) + 1);
        Ids { request_id: format!("{id:016X}"), host_id: self.config.host_id.clone() }
    }

    /// Serves one request, whose headers have `headers_len` bytes in all.
    pub async fn serve(
        self: &Arc<Self>,
        request: Request<Incoming>,
        headers_len: usize,
        peer: Peer,
    ) -> Served {
        let now_ms = self.engine.now_ms();
        let ids = self.new_ids(now_ms);
        let (parts, incoming) = request.into_parts();
        let path = parts.uri.path();
        let raw_path = path[..path.floor_char_boundary(ECHO_LEN_MAX)].to_owned();
        let is_head = parts.method == http::Method::HEAD;
        let is_preflight = parts.method == http::Method::OPTIONS;
        let is_http2 = parts.version == http::Version::HTTP_2;
        let declared_len = parts.headers.get("content-length").cloned();
        let mut body = Some(Body::new(incoming, &parts.extensions));
        let mut entry = Entry::new(self, &ids);
        entry.trace.room_len = room_len(&parts, headers_len);
        let (mut asked, mut named) = (None, None);
        let too_long = || S3Error::from(S3Code::RequestHeaderSectionTooLarge);
        let (result, names) = match S3Request::parse(parts, &self.config.domains, now_ms) {
            Ok(_) if headers_len > HEADERS_LEN_MAX => (Err(too_long()), (None, None)),
            Ok(mut request) => {
                named.clone_from(&request.bucket);
                let resolved = request.headers.check_lines().and_then(|()| {
                    access_point::resolve(&self.rules.points, &self.config.directory, &mut request)
                });
                let names = (request.bucket.clone(), request.key.clone());
                asked = Asked::of(&request, || self.rules_of(names.0.as_deref()));
                entry.begin(&request, peer);
                let trace = &mut entry.trace;
                let served = match (resolved, request.method == http::Method::OPTIONS) {
                    (Err(error), _) => Err(error),
                    (Ok(()), true) => preflight(self.rules_of(names.0.as_deref()), &request),
                    (Ok(()), false) => self.run(request, peer, &ids, &mut body, trace).await,
                };
                (served, names)
            }
            Err(error) => (Err(error), (None, None)),
        };
        let request_id = ids.request_id.clone();
        let (mut response, error) = match result {
            Ok(response) => (response, None),
            Err(error) if error.drop_connection => {
                let operation = entry.trace.operation.map(Operation::name);
                return Served { response: None, operation, request_id, error: Some(error.code) };
            }
            Err(error) => {
                Body::drain(body, declared_len).await;
                let (bucket, key) = (named.as_deref(), names.1.as_deref());
                let code = error.code;
                (render_error(&error, bucket, key, &raw_path, &ids, is_head), Some(code))
            }
        };
        finish(&mut response, &ids);
        if let (Some(asked), false) = (asked, is_preflight) {
            asked.write(&mut response, || self.rules_of(names.0.as_deref()));
        }
        let room = entry.trace.room.take();
        let response = self.receiver(&entry.trace, peer, is_http2).send(room, response).await;
        if let Some(written) = entry.write(response.as_ref(), error) {
            written.await;
        }
        Served {
            response,
            operation: entry.trace.operation.map(Operation::name),
            request_id,
            error,
        }
    }

    fn receiver<'a>(&'a self, trace: &'a Trace, peer: Peer, is_http2: bool) -> Receiver<'a> {
        let (identity, address) = (trace.identity.as_deref(), peer.address);
        Receiver { identity, address, is_http2, engine: &self.engine }
    }

    async fn run(
        &self,
        mut request: S3Request,
        peer: Peer,
        ids: &Ids,
        body: &mut Option<Body>,
        trace: &mut Trace,
    ) -> Result<Reply, S3Error> {
        let epoch = self.config.directory.epoch();
        let (line, known, stamp) = (trace.line.clone(), trace.known.take(), trace.stamp.clone());
        let noted = Noted { ids, line, epoch, known, stamp };
        let context_of = |engine, request, sender| self.context(engine, request, sender, &noted);
        let engine_of = |sender: &Sender| self.engine_of(sender, &noted);
        if request.is_website {
            return self.serve_page(request, peer, trace, &noted).await;
        }
        let (is_control, routed) = (control::is_for(&request), route(&request));
        let verifier = Verifier {
            directory: &self.config.directory,
            keys: &self.keys,
            region: &self.config.region,
            // Scopes of access points are signed as for directory buckets.
            service: if is_control && control::is_scope(&request) { "s3express" } else { "s3" },
            any_region: false,
            takes_v2: self.config.takes_sigv2,
        };
        if ops::is_form(&request) {
            (trace.operation, trace.auth) = (Some(Operation::PutObject), AuthType::Form);
            let sender = Sender::of(None, AuthType::Anonymous, None, peer);
            let engine = engine_of(&sender);
            trace.make_room(&engine, 0).await?;
            let mut context = context_of(&engine, request, sender);
            let served = Box::pin(ops::post_object(&mut context, &verifier, body)).await;
            (trace.is_v2, trace.identity) = (context.sender.is_v2(), context.sender.identity);
            return served;
        }
        let verified = match authenticate(&request, &verifier) {
            Ok(verified) => verified,
            // What does not exist is said to everybody; whether a bucket exists is not.
            Err(_) if routed.is_err() && !is_control => {
                return Err(routed.expect_err("looked at just now"));
            }
            Err(error) => return Err(self.with_region(&request, error)),
        };
        (trace.identity, trace.auth) = (verified.identity.clone(), verified.auth);
        let sender = Sender::of(trace.identity.clone(), verified.auth, verified.signed_ms, peer);
        trace.is_v2 = sender.is_v2();
        request.take_headers_of_query()?;
        access_point::resolve_source(&self.rules.points, &self.config.directory, &mut request)?;
        let engine = engine_of(&sender);
        trace.make_room(&engine, if is_control { SMALL_LEN_MAX } else { 0 }).await?;
        let mut context = context_of(&engine, request, sender);
        if trace.room.is_some() {
            // The sender can make the wait for room long.
            context.sender.identity = identify_again(&context)?;
            engine.look_again();
        }
        if is_control {
            ops::hear_control(&mut context, &verified, body).await?;
            let work = Box::pin(control::run(&context, verified, body));
            return with_decisions(&context, pin!(work)).await;
        }
        let routed = routed?;
        trace.operation = Some(routed);
        self.perform(&mut context, routed, verified, body).await
    }

    /// Serves a page of a website.
    async fn serve_page(
        &self,
        request: S3Request,
        peer: Peer,
        trace: &mut Trace,
        noted: &Noted<'_>,
    ) -> Result<Reply, S3Error> {
        trace.operation = Some(Operation::GetObject);
        let sender = Sender::of(None, AuthType::Anonymous, None, peer);
        let engine = self.engine_of(&sender, noted);
        trace.make_room(&engine, 0).await?;
        engine.look_again();
        let mut context = self.context(&engine, request, sender, noted);
        context.operation = trace.operation;
        Ok(Box::pin(website::serve(context)).await)
    }

    fn engine_of(&self, sender: &Sender, noted: &Noted<'_>) -> Engine {
        let bucket = noted.known.as_ref().map(|known| known.bucket.clone());
        self.engine.for_request(consumer_of(sender), bucket, noted.stamp.clone())
    }

    pub(crate) fn context<'a>(
        &'a self,
        engine: &'a Engine,
        request: S3Request,
        sender: Sender,
        noted: &Noted<'_>,
    ) -> Context<'a> {
        Context {
            engine,
            directory: &self.config.directory,
            config: &self.config,
            token: session_token(&request),
            request,
            sent: None,
            ids: noted.ids.clone(),
            sender,
            rules: &self.rules,
            directory_epoch: noted.epoch,
            said: None,
            also: AlsoDecided::default(),
            operation: None,
            line: noted.line.clone(),
            known: noted.known.clone(),
            listings: &self.listings,
        }
    }

    /// Decides on an operation, and carries it out.
    async fn perform(
        &self,
        context: &mut Context<'_>,
        operation: Operation,
        verified: Verified,
        body: &mut Option<Body>,
    ) -> Result<Reply, S3Error> {
        context.operation = Some(operation);
        let had_body = body.is_some();
        let heard = ops::hear(context, operation, &verified, body).await;
        if had_body && body.is_none() {
            context.engine.look_again();
        }
        authorize(context, operation).map_err(|error| self.with_region(&context.request, error))?;
        context.is_decided();
        heard?;
        refuse_not_implemented(&context.request, operation)?;
        headers::check(&context.request.headers, operation)?;
        context.reserve_line(0).await?;
        let served = carry_out(context, operation, verified, body).await;
        served.map_err(|error| hide_absence(context, error))
    }

    /// The documents of a bucket; none if there is no such bucket, or they cannot be read.
    fn rules_of(&self, bucket: Option<&str>) -> Option<Arc<Rules>> {
        self.known_of(bucket).map(|known| known.rules)
    }

    /// A bucket and its documents; none if there is no such bucket, or they cannot be read.
    fn known_of(&self, bucket: Option<&str>) -> Option<Known> {
        let directory_epoch = self.config.directory.epoch();
        let bucket = self.engine.find_bucket(bucket?).ok()?;
        let rules = self.rules.get(&self.engine, &self.config.directory, &bucket).ok()?;
        Some(Known { bucket, rules, directory_epoch })
    }

    /// What the access log of the bucket will want to know of a request, if it has one.
    fn draft_of(&self, request: &S3Request, peer: Peer, known: &Known) -> Option<Draft> {
        let target = known.rules.logging.clone()?;
        let account = account_of(&known.bucket);
        let owner = self.config.directory.canonical_of(account).unwrap_or_default();
        let remote = peer.address.to_canonical().to_string();
        Some(Draft::new(request, account, owner, (remote, peer), target))
    }

    /// Adds a line to the access log of a bucket.
    fn log(
        &self,
        draft: &Draft,
        trace: &Trace,
        reply: Option<&Response<OutBody>>,
        error: Option<S3Code>,
        request_id: &str,
    ) -> impl Future<Output = ()> + Send + use<> {
        let requester = trace.identity.as_ref().and_then(|identity| identity.principal.arn());
        let outcome = Outcome {
            operation: trace.operation,
            requester: requester.unwrap_or_default(),
            auth: trace.auth,
            is_v2: trace.is_v2,
            reply,
            error: error.map(S3Code::name),
            request_id,
            host_id: &self.config.host_id,
            region: &self.config.region,
            millis: self.engine.now_ms().saturating_sub(draft.now_ms),
        };
        let share = trace.line.as_ref().and_then(|line| line.take());
        self.logs.add(draft, &outcome, share)
    }

    /// Delivers what the access logs of buckets have gathered.
    pub async fn deliver_logs(&self) {
        self.logs.deliver(&self.config).await;
    }

    /// Waits until the lines of a bucket fill their room.
    pub async fn logs_fill(&self) {
        self.engine.log_room().filled().await;
    }

    /// Delivers the lines of buckets that fill their room.
    pub async fn deliver_filling_logs(&self) {
        self.logs.deliver_filling(&self.config).await;
    }

    /// Delivers what the access logs of buckets have gathered, at the end of the process.
    pub async fn close_logs(&self) {
        self.logs.close(&self.config).await;
    }

    /// HeadBucket tells the region also to those whom it refuses.
    fn with_region(&self, request: &S3Request, error: S3Error) -> S3Error {
        if request.bucket.is_some() && request.key.is_none() {
            return error.header("x-amz-bucket-region", self.config.region.clone());
        }
        error
    }
}

fn render_error(
    error: &S3Error,
    bucket: Option<&str>,
    key: Option<&str>,
    resource: &str,
    ids: &Ids,
    is_head: bool,
) -> Reply {
    let mut reply = if is_head {
        let mut reply = empty(error.code.status());
        set(&mut reply, "x-minio-error-code", error.code.name());
        let message = &error.message[..error.message.floor_char_boundary(ECHO_LEN_MAX / 4)];
        set(&mut reply, "x-minio-error-desc", &format!("{message:?}"));
        set(&mut reply, "content-type", "application/xml");
        reply
    } else {
        xml(error_document(error, bucket, key, resource, ids))
    };
    *reply.status_mut() = http::StatusCode::from_u16(error.code.status()).expect("a known status");
    for (name, value) in &error.headers {
        set(&mut reply, name, value);
    }
    if error.code.status() == 503 {
        set(&mut reply, "retry-after", "1");
    }
    reply
}
