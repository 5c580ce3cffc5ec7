//! One connection to an LDAP server: bind, search, and TLS below them.
//!
//! # Invariants
//!
//! - What a server answers is bounded before it is held: one message by [`MESSAGE_LEN_MAX`], all that one
//!   sign-in is answered by [`Room`], whatever lengths are declared, and whether it was asked for or not.
//! - Each request is answered within [`TIMEOUT`] in all, however slowly its answer comes in.
//! - No answer panics: what is not as RFC 4511 has it ends the sign-in.
//!
//! # Not here
//!
//! What is asked, and who is let in: `federation::ldap`.

use super::LdapError;
use super::ber::{
    self, ENUMERATED, Elements, INTEGER, LENGTH_LEN_MAX, Malformed, OCTETS, SEQUENCE, SET,
};
use ldap3::asn1::ASNTag;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long the server may take to be connected to, and for the answer to one request.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one message of the server.
const MESSAGE_LEN_MAX: u64 = 256 << 10;
/// Bytes that the server may answer in one sign-in.
const ANSWERS_LEN_MAX: u64 = 1 << 20;
/// Messages with an entry or a reference that it may answer in one sign-in.
const ENTRY_COUNT_MAX: u32 = 10_000;
/// Characters of what a server says of a failure that are logged.
const TEXT_LEN_MAX: usize = 200;

const BIND_REQUEST: u8 = 0x60;
const BIND_RESPONSE: u8 = 0x61;
const UNBIND_REQUEST: u8 = 0x42;
const SEARCH_REQUEST: u8 = 0x63;
const SEARCH_ENTRY: u8 = 0x64;
const SEARCH_DONE: u8 = 0x65;
const SEARCH_REFERENCE: u8 = 0x73;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
const INTERMEDIATE_RESPONSE: u8 = 0x79;
/// Of a simple bind, and of the name of an extended request.
const CONTEXT_0: u8 = 0x80;
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
const VERSION: u32 = 3;
const SCOPE_SUBTREE: u32 = 2;

/// An entry that a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dn: String,
    /// Names and values; values that are no text are left out.
    pub(super) attributes: Vec<(String, Vec<String>)>,
}

/// What the server may still answer in one sign-in.
pub(super) struct Room {
    left_bytes: u64,
    left_entries: u32,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { left_bytes: ANSWERS_LEN_MAX, left_entries: ENTRY_COUNT_MAX }
    }

    fn take_bytes(&mut self, len: u64) -> Result<(), LdapError> {
        if len > MESSAGE_LEN_MAX {
            return Err(LdapError::TooMuch("a message of it is longer than 256 KiB"));
        }
        let left = self.left_bytes.checked_sub(len);
        self.left_bytes = left.ok_or(LdapError::TooMuch("it answers more than 1 MiB"))?;
        Ok(())
    }

    fn take_entry(&mut self) -> Result<(), LdapError> {
        let left = self.left_entries.checked_sub(1);
        self.left_entries = left.ok_or(LdapError::TooMuch("it finds more than 10,000 entries"))?;
        Ok(())
    }
}

impl From<Malformed> for LdapError {
    fn from(_: Malformed) -> Self {
        Self::Unavailable("it answers something that is no LDAP".to_owned())
    }
}

impl From<io::Error> for LdapError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What is below the messages.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How a connection is protected.
pub(super) enum Protection {
    None,
    Tls(Arc<ClientConfig>),
    /// TLS begins after the connection was opened in clear.
    StartTls(Arc<ClientConfig>),
}

/// A connection that is open. It ends when it is dropped.
pub(super) struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    last_id: u32,
}

/// Host and port of an address without a scheme.
fn host_and_port(address: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => address.find(':').map_or((address, ""), |at| address.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if port.is_empty() => default_port,
        None => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

async fn in_time<T>(work: impl Future<Output = Result<T, LdapError>>) -> Result<T, LdapError> {
    let late = |_| LdapError::Unavailable("it does not answer in time".to_owned());
    tokio::time::timeout(TIMEOUT, work).await.map_err(late)?
}

impl Connection {
    /// Connects, and begins TLS.
    pub(super) async fn open(
        address: &str,
        protection: Protection,
        room: &mut Room,
    ) -> Result<Self, LdapError> {
        let port = if matches!(protection, Protection::Tls(_)) { 636 } else { 389 };
        let place = host_and_port(address, port);
        let place = place.ok_or_else(|| LdapError::Unavailable("no address".to_owned()))?;
        in_time(Self::begin(place, protection, room)).await
    }

    async fn begin(
        (host, port): (&str, u16),
        protection: Protection,
        room: &mut Room,
    ) -> Result<Self, LdapError> {
        let mut stream = TcpStream::connect((host, port)).await?;
        let config = match protection {
            Protection::None => return Ok(Self::over(Box::new(stream))),
            Protection::Tls(config) => config,
            Protection::StartTls(config) => {
                start_tls(&mut stream, room).await?;
                config
            }
        };
        let unusable = |_| LdapError::Unavailable("its name cannot have a certificate".to_owned());
        let name = ServerName::try_from(host.to_owned()).map_err(unusable)?;
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
        Ok(Self::over(Box::new(stream)))
    }

    fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream: BufReader::new(stream), last_id: 0 }
    }

    async fn send(&mut self, operation: &[u8]) -> Result<(), LdapError> {
        self.last_id += 1;
        let message = message(self.last_id, operation);
        self.stream.write_all(&message).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next message that belongs to the last request.
    async fn receive(&mut self, room: &mut Room) -> Result<Vec<u8>, LdapError> {
        receive(&mut self.stream, self.last_id, room).await
    }

    /// Binds with a name and a password; whether the server takes them.
    pub(super) async fn bind(
        &mut self,
        dn: &str,
        password: &str,
        room: &mut Room,
    ) -> Result<Outcome, LdapError> {
        let (mut request, mut content) = (Vec::new(), Vec::new());
        ber::put_number(&mut content, INTEGER, VERSION);
        ber::put(&mut content, OCTETS, dn.as_bytes());
        ber::put(&mut content, CONTEXT_0, password.as_bytes());
        ber::put(&mut request, BIND_REQUEST, &content);
        in_time(async {
            self.send(&request).await?;
            let answer = self.receive(room).await?;
            Ok(Outcome::decode(Elements(&answer).expect(BIND_RESPONSE)?)?)
        })
        .await
    }

    /// Hands over what a filter finds below a base, one after the other.
    pub(super) async fn search(
        &mut self,
        (base, filter): (&str, &str),
        attributes: &[&str],
        room: &mut Room,
        mut found: impl FnMut(Entry),
    ) -> Result<(), LdapError> {
        let request = search_request(base, filter, attributes)?;
        in_time(async {
            self.send(&request).await?;
            loop {
                let answer = self.receive(room).await?;
                match Elements(&answer).next()?.ok_or(Malformed)? {
                    (SEARCH_ENTRY, content) => {
                        room.take_entry()?;
                        found(entry(content)?);
                    }
                    (SEARCH_REFERENCE | INTERMEDIATE_RESPONSE, _) => room.take_entry()?,
                    (SEARCH_DONE, content) => return Outcome::decode(content)?.success(),
                    _ => return Err(Malformed.into()),
                }
            }
        })
        .await
    }

    /// Tells the server that nothing follows.
    pub(super) async fn unbind(mut self) {
        let said = in_time(async {
            self.send(&[UNBIND_REQUEST, 0]).await?;
            Ok(self.stream.shutdown().await?)
        });
        let _ = said.await;
    }
}

fn message(id: u32, operation: &[u8]) -> Vec<u8> {
    let (mut message, mut content) = (Vec::new(), Vec::new());
    ber::put_number(&mut content, INTEGER, id);
    content.extend(operation);
    ber::put(&mut message, SEQUENCE, &content);
    message
}

/// Reads one message: its operation, with what controls follow. The length counts before it is read.
async fn receive(
    stream: &mut (impl AsyncRead + Unpin),
    id: u32,
    room: &mut Room,
) -> Result<Vec<u8>, LdapError> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let [tag, first] = head;
    if tag != SEQUENCE {
        return Err(Malformed.into());
    }
    let len = match ber::length_len(first)? {
        None => u64::from(first),
        Some(more) => {
            let mut bytes = [0; LENGTH_LEN_MAX];
            stream.read_exact(&mut bytes[..more]).await?;
            ber::number(&bytes[..more])?
        }
    };
    room.take_bytes(len + 2)?;
    let mut content = vec![0; usize::try_from(len).map_err(|_| Malformed)?];
    stream.read_exact(&mut content).await?;
    let mut elements = Elements(&content);
    let found = ber::number(elements.expect(INTEGER)?)?;
    if found != u64::from(id) {
        // A notice of disconnection has the number 0 (RFC 4511, §4.4.1).
        let message =
            if found == 0 { "it ends the connection" } else { "it answers another request" };
        return Err(LdapError::Unavailable(message.to_owned()));
    }
    let rest = elements.0.len();
    Ok(content.split_off(content.len() - rest))
}

/// Asks for TLS. Nothing is read ahead: what came in clear must not count as said under TLS.
async fn start_tls(stream: &mut TcpStream, room: &mut Room) -> Result<(), LdapError> {
    let (mut request, mut content) = (Vec::new(), Vec::new());
    ber::put(&mut content, CONTEXT_0, START_TLS);
    ber::put(&mut request, EXTENDED_REQUEST, &content);
    stream.write_all(&message(1, &request)).await?;
    let answer = receive(stream, 1, room).await?;
    Outcome::decode(Elements(&answer).expect(EXTENDED_RESPONSE)?)?.success()
}

fn search_request(base: &str, filter: &str, attributes: &[&str]) -> Result<Vec<u8>, LdapError> {
    let no_filter = |()| LdapError::Unavailable("the filter is malformed".to_owned());
    let filter = ldap3::parse_filter(filter).map_err(no_filter)?;
    let (mut request, mut content, mut names) = (Vec::new(), Vec::new(), Vec::new());
    ber::put(&mut content, OCTETS, base.as_bytes());
    ber::put_number(&mut content, ENUMERATED, SCOPE_SUBTREE);
    // Aliases are not followed; no limit of the server's own for entries and seconds.
    ber::put_number(&mut content, ENUMERATED, 0);
    ber::put_number(&mut content, INTEGER, 0);
    ber::put_number(&mut content, INTEGER, 0);
    ber::put_bool(&mut content, false);
    ber::put_parsed(&mut content, filter.into_structure());
    attributes.iter().for_each(|name| ber::put(&mut names, OCTETS, name.as_bytes()));
    ber::put(&mut content, SEQUENCE, &names);
    ber::put(&mut request, SEARCH_REQUEST, &content);
    Ok(request)
}

fn entry(content: &[u8]) -> Result<Entry, Malformed> {
    let mut elements = Elements(content);
    let dn = elements.text()?.to_owned();
    let (mut attributes, mut listed) = (Vec::new(), Elements(elements.expect(SEQUENCE)?));
    while let Some((tag, content)) = listed.next()? {
        let mut attribute = Elements(content);
        let (name, mut set) = (attribute.text()?, Elements(attribute.expect(SET)?));
        let mut values = Vec::new();
        while let Some((_, value)) = set.next()? {
            values.extend(std::str::from_utf8(value).ok().map(str::to_owned));
        }
        if tag != SEQUENCE {
            return Err(Malformed);
        }
        attributes.push((name.to_owned(), values));
    }
    Ok(Entry { dn, attributes })
}

/// How an operation went.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    code: u64,
    /// What the server says of it, cut.
    text: String,
}

impl Outcome {
    fn decode(content: &[u8]) -> Result<Self, Malformed> {
        let mut elements = Elements(content);
        let code = ber::number(elements.expect(ENUMERATED)?)?;
        elements.expect(OCTETS)?;
        let text = String::from_utf8_lossy(elements.expect(OCTETS)?);
        Ok(Self { code, text: text.escape_debug().take(TEXT_LEN_MAX).collect() })
    }

    pub(super) fn is_success(&self) -> bool {
        self.code == 0
    }

    pub(super) fn success(self) -> Result<(), LdapError> {
        let Self { code, text } = &self;
        let failed = || LdapError::Unavailable(format!("it answers with code {code}: {text}"));
        self.is_success().then_some(()).ok_or_else(failed)
    }
}

#[cfg(test)]
mod tests;
