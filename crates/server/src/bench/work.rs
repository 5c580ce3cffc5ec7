//! What workers do.

use super::client::{ClientError, Connection, Target};
use super::paced::Pace;
use super::{BenchArguments, Shared, Workload};
use bytes::Bytes;
use drystone_base::{Rng, SeededRng, SystemRng};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

const PART_COUNT: u16 = 4;
const PART_LEN_MIN: u64 = 5 << 20;
const MANY: u64 = 1000;

/// The load: which keys, and which bytes.
pub(crate) struct Load {
    workload: Workload,
    bucket: String,
    /// Differs from run to run, so that runs do not meet each other's keys.
    run: u64,
    objects: u64,
    body: Bytes,
}

/// What a worker measured.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) latencies: Vec<u32>,
    pub(crate) units: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Load {
    pub(crate) fn new(arguments: &BenchArguments, size: u64) -> Self {
        let size = match arguments.workload {
            Workload::Multipart => size.max(PART_LEN_MIN),
            _ => size,
        };
        let mut body = vec![0; usize::try_from(size).expect("a size that fits memory")];
        SeededRng::new(1).fill(&mut body);
        Self {
            workload: arguments.workload,
            bucket: arguments.bucket.clone(),
            run: arguments.run.map_or_else(|| SystemRng.u64() & 0xFFFF_FFFF, u64::from),
            objects: arguments.objects,
            body: body.into(),
        }
    }

    pub(crate) fn needs_objects(&self) -> bool {
        !matches!(self.workload, Workload::Put | Workload::Multipart)
    }

    pub(crate) fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// Path of a prepared object; a hundred share a common prefix.
    pub(crate) fn prepared(&self, number: u64) -> String {
        format!("/{}/{}", self.bucket, self.prepared_key(number))
    }

    fn prepared_key(&self, number: u64) -> String {
        format!("{:08x}/{:06}/{number:010}", self.run, number / 100)
    }
}

pub(crate) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    target: Arc<Target>,
    rng: SeededRng,
    made: u64,
    /// Where a listing goes on.
    token: Option<String>,
    outcome: Outcome,
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, target: Arc<Target>) -> Self {
        let rng = SeededRng::new(index as u64);
        Self { index, shared, target, rng, made: 0, token: None, outcome: Outcome::default() }
    }

    /// Works until told to stop, or until there is nothing left to delete.
    pub(crate) async fn run(mut self) -> Outcome {
        let pace = if self.index < self.shared.slow { Pace::Slow } else { Pace::Fast };
        let mut connection = match Connection::open(self.target.clone()).await {
            Ok(connection) => connection.paced(pace),
            Err(error) => {
                self.fail(error.to_string());
                return self.outcome;
            }
        };
        while !self.shared.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            match self.step(&mut connection).await {
                Ok(Some((units, bytes))) => {
                    let micros = begun.elapsed().as_micros().min(u128::from(u32::MAX));
                    self.outcome.latencies.push(micros as u32);
                    self.outcome.units += units;
                    self.shared.operations.fetch_add(1, Ordering::Relaxed);
                    self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
                }
                Ok(None) => break,
                Err(error) => {
                    self.fail(error.to_string());
                    match Connection::open(self.target.clone()).await {
                        Ok(fresh) => connection = fresh.paced(pace),
                        Err(_) => break,
                    }
                }
            }
        }
        self.outcome
    }

    fn fail(&mut self, error: String) {
        self.outcome.errors += 1;
        self.outcome.first_error.get_or_insert(error);
    }

    fn new_path(&mut self) -> String {
        self.made += 1;
        let load = &self.shared.load;
        format!("/{}/{:08x}-new/{:03}/{:010}", load.bucket, load.run, self.index, self.made)
    }

    fn some_prepared(&self) -> String {
        self.shared.load.prepared(self.rng.below(self.shared.load.objects.max(1)))
    }

    /// One operation: the objects and bytes that it handled; `None` if nothing is left.
    async fn step(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<(u64, u64)>, ClientError> {
        let workload = match self.shared.load.workload {
            Workload::Mixed => match self.rng.below(100) {
                0..45 => Workload::Get,
                45..75 => Workload::Stat,
                75..90 => Workload::Put,
                _ => Workload::Delete,
            },
            workload => workload,
        };
        let none = Bytes::new();
        match workload {
            Workload::Put => {
                let (path, body) = (self.new_path(), self.shared.load.body());
                let len = body.len() as u64;
                expect(connection.send("PUT", &path, "", body).await?.0, 200)?;
                Ok(Some((1, len)))
            }
            Workload::Get => {
                let (status, answer) =
                    connection.send("GET", &self.some_prepared(), "", none).await?;
                expect(status, 200)?;
                Ok(Some((1, answer.len)))
            }
            Workload::Stat => {
                expect(connection.send("HEAD", &self.some_prepared(), "", none).await?.0, 200)?;
                Ok(Some((1, 0)))
            }
            Workload::Delete if self.shared.load.workload == Workload::Mixed => {
                let path = self.new_path();
                expect(connection.send("DELETE", &path, "", none).await?.0, 204)?;
                Ok(Some((1, 0)))
            }
            Workload::Delete => {
                let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
                if number >= self.shared.load.objects {
                    return Ok(None);
                }
                let path = self.shared.load.prepared(number);
                expect(connection.send("DELETE", &path, "", none).await?.0, 204)?;
                Ok(Some((1, 0)))
            }
            Workload::DeleteMany => self.delete_many(connection).await,
            Workload::List | Workload::ListDelimiter => self.list(connection).await.map(Some),
            Workload::Multipart => self.multipart(connection).await.map(Some),
            Workload::Mixed => unreachable!("chosen above"),
        }
    }

    async fn delete_many(
        &mut self,
        connection: &mut Connection,
    ) -> Result<Option<(u64, u64)>, ClientError> {
        let load = &self.shared.load;
        let first = self.shared.next.fetch_add(MANY, Ordering::Relaxed);
        if first >= load.objects {
            return Ok(None);
        }
        let last = (first + MANY).min(load.objects);
        let mut document = String::from("<Delete><Quiet>true</Quiet>");
        for number in first..last {
            document += &format!("<Object><Key>{}</Key></Object>", load.prepared_key(number));
        }
        document += "</Delete>";
        let path = format!("/{}", load.bucket);
        expect(connection.send("POST", &path, "delete=", document.into()).await?.0, 200)?;
        Ok(Some((last - first, 0)))
    }

    async fn list(&mut self, connection: &mut Connection) -> Result<(u64, u64), ClientError> {
        let load = &self.shared.load;
        let mut query = String::new();
        if let Some(token) = self.token.take() {
            query += &format!("continuation-token={token}&");
        }
        if load.workload == Workload::ListDelimiter {
            query += "delimiter=%2F&";
        }
        query += &format!("list-type=2&max-keys=1000&prefix={:08x}%2F", load.run);
        let path = format!("/{}", load.bucket);
        let (status, answer) = connection.send("GET", &path, &query, Bytes::new()).await?;
        expect(status, 200)?;
        let token = answer.between("<NextContinuationToken>", "</NextContinuationToken>");
        self.token =
            token.map(|token| token.replace('=', "%3D").replace('/', "%2F").replace('+', "%2B"));
        let count = answer.between("<KeyCount>", "</KeyCount>").and_then(|n| n.parse().ok());
        Ok((count.unwrap_or(0), answer.len))
    }

    async fn multipart(&mut self, connection: &mut Connection) -> Result<(u64, u64), ClientError> {
        let path = self.new_path();
        let (status, answer) = connection.send("POST", &path, "uploads=", Bytes::new()).await?;
        expect(status, 200)?;
        let upload = answer.between("<UploadId>", "</UploadId>").unwrap_or_default();
        let mut document = String::from("<CompleteMultipartUpload>");
        for number in 1..=PART_COUNT {
            let query = format!("partNumber={number}&uploadId={upload}");
            let body = self.shared.load.body();
            let (status, answer) = connection.send("PUT", &path, &query, body).await?;
            expect(status, 200)?;
            let etag = answer.etag;
            document +=
                &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
        }
        document += "</CompleteMultipartUpload>";
        let query = format!("uploadId={upload}");
        expect(connection.send("POST", &path, &query, document.into()).await?.0, 200)?;
        Ok((1, self.shared.load.body.len() as u64 * u64::from(PART_COUNT)))
    }
}

fn expect(status: u16, wanted: u16) -> Result<(), ClientError> {
    if status == wanted {
        return Ok(());
    }
    Err(ClientError::Status { what: "the server", status })
}
