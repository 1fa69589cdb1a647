//! Git's own protocol, `git://`.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;

use super::metered::Metered;
use super::{Connected, Connecting, Problem};
use crate::git::GitError;

/// The port of `git daemon`.
const PORT: u16 = 9418;

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

pub(super) fn connect(connecting: &Connecting<'_>) -> Result<Connected, GitError> {
    let url = connecting.server.url;
    let stream = open(connecting, &url.host, url.port.unwrap_or(PORT))?;
    let failed = |source| GitError::Unreachable { host: url.host.clone(), source };
    let reader = stream.try_clone().map_err(failed)?;
    let problem = Problem::default();
    let reader = Metered::new(reader, connecting.received, problem.clone(), url);
    let virtual_host = Some((url.host.clone(), url.port));
    let connection = Connection::new(
        reader,
        stream,
        Protocol::V2,
        url.path.clone(),
        virtual_host,
        ConnectMode::Daemon,
        false,
    );
    Ok(Connected { transport: Box::new(connection), problem })
}

/// Connects to the first address that answers; a peer that is silent for the registries' limit counts as gone.
fn open(connecting: &Connecting<'_>, host: &str, port: u16) -> Result<TcpStream, GitError> {
    let limit = connecting.registries.stall_limit();
    let failed = |source| GitError::Unreachable { host: format!("{host}:{port}"), source };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in connecting.registries.source_reach().check(host, port).map_err(failed)? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(limit)).map_err(failed)?;
                stream.set_write_timeout(Some(limit)).map_err(failed)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(last))
}
