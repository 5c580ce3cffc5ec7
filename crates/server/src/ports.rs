//! The ports of a server. They are taken before a drive is opened or made, so that a wrong address changes
//! nothing; they are listened on when everything is ready, so that no client waits at a server that starts.

use crate::config::{Given, ServerConfig};
use socket2::SockRef;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait until they are accepted; the kernel lowers it to its own limit.
const BACKLOG: u32 = 65_535;
/// Bytes that the kernel takes for a client before they can be sent. Its own limit is 4 MiB a socket, which
/// no budget counts: it would hold all that a client does not read.
const UNSENT_LEN_MAX: u32 = 256 << 10;

/// Why a port cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortError {
    /// What was typed is no address.
    #[error(
        "{option} {address}: not an address; write HOST:PORT or :PORT, such as 127.0.0.1:9000 or :9000"
    )]
    NotAnAddress { option: String, address: String },
    /// Only a port was typed.
    #[error(
        "{option} {port}: a port without an address; write :{port} for all addresses of this machine"
    )]
    OnlyPort { option: String, port: String },
    /// Another process has the port.
    #[error(
        "{option} {address}: the port is in use by another process, perhaps by a server that runs already; \
         stop that process, or choose another port with {option}"
    )]
    InUse { option: String, address: String },
    /// The address belongs to another machine.
    #[error(
        "{option} {address}: this machine does not have this address; choose one that it has with {option}"
    )]
    NotHere { option: String, address: String },
    /// The user may not listen there.
    #[error(
        "{option} {address}: this user may not listen on this port; choose one above 1023 with {option}"
    )]
    NotAllowed { option: String, address: String },
    /// Both ports are one.
    #[error(
        "--address {address} and --console-address {console} are the same port; choose another for one of \
         them"
    )]
    Same { address: String, console: String },
    /// The operating system reports another error.
    #[error("{option} {address}: cannot listen there")]
    Other {
        option: String,
        address: String,
        #[source]
        source: io::Error,
    },
}

fn refused(given: &Given, source: io::Error) -> PortError {
    let (option, address) = (given.name.clone(), given.value.as_str());
    let is_port = !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_digit());
    let address = address.to_owned();
    match source.kind() {
        io::ErrorKind::InvalidInput if is_port => PortError::OnlyPort { option, port: address },
        io::ErrorKind::InvalidInput => PortError::NotAnAddress { option, address },
        io::ErrorKind::AddrInUse => PortError::InUse { option, address },
        io::ErrorKind::AddrNotAvailable => PortError::NotHere { option, address },
        io::ErrorKind::PermissionDenied => PortError::NotAllowed { option, address },
        _ => PortError::Other { option, address, source },
    }
}

/// A port that no other process can take, and that does not listen yet.
struct BoundPort {
    given: Given,
    socket: TcpSocket,
}

impl BoundPort {
    /// Takes an address such as `:9000` or `127.0.0.1:9000`.
    fn take(given: &Given) -> Result<Self, PortError> {
        let address = given.value.as_str();
        let socket = match address.strip_prefix(':') {
            // All interfaces, both families where there are two.
            Some(port) => {
                bind(&format!("[::]:{port}")).or_else(|_| bind(&format!("0.0.0.0:{port}")))
            }
            None => bind(address),
        };
        let socket = socket.map_err(|error| refused(given, error))?;
        Ok(Self { given: given.clone(), socket })
    }

    fn listen(self) -> Result<TcpListener, PortError> {
        let Self { given, socket } = self;
        socket.listen(BACKLOG).map_err(|error| refused(&given, error))
    }
}

/// Binds the first address of those that a text stands for that can be bound.
fn bind(text: &str) -> io::Result<TcpSocket> {
    let mut last = io::Error::from(io::ErrorKind::InvalidInput);
    for address in text.to_socket_addrs()? {
        match bind_one(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of an earlier process that are not over yet are no obstacle.
    socket.set_reuseaddr(true)?;
    // The sockets of connections inherit it. Not all kernels know it; then theirs is the limit.
    let _ = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT_LEN_MAX);
    socket.bind(address)?;
    Ok(socket)
}

/// Whether only one of two sockets can listen.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (is_any || one.ip() == other.ip())
}

/// The ports of a server that starts.
pub(crate) struct BoundPorts {
    s3: BoundPort,
    console: Option<BoundPort>,
}

impl BoundPorts {
    pub(crate) fn take(config: &ServerConfig) -> Result<Self, PortError> {
        let s3 = BoundPort::take(&config.address)?;
        let console = config.console_address.as_ref().map(BoundPort::take).transpose()?;
        if let Some(console) = &console
            && let (Ok(one), Ok(other)) = (s3.socket.local_addr(), console.socket.local_addr())
            && is_same(one, other)
        {
            let (address, console) = (s3.given.value, console.given.value.clone());
            return Err(PortError::Same { address, console });
        }
        Ok(Self { s3, console })
    }

    /// Listens; within a runtime.
    pub(crate) fn listen(self) -> Result<Ports, PortError> {
        let console = self.console.map(BoundPort::listen).transpose()?;
        Ok(Ports { s3: self.s3.listen()?, console })
    }
}

/// The open ports of a server.
pub(crate) struct Ports {
    pub(crate) s3: TcpListener,
    pub(crate) console: Option<TcpListener>,
}

impl Ports {
    pub(crate) fn addresses(&self) -> io::Result<(SocketAddr, Option<SocketAddr>)> {
        let console = self.console.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok((self.s3.local_addr()?, console))
    }
}
