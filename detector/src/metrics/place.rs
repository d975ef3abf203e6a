//! Where somebody may ask: a Unix socket of ours, a port on loopback.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    os::unix::net,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};

/// The owner and the group: whom an administrator lets in is put into the group.
const MODE: u32 = 0o660;

/// Somewhere connections arrive.
#[derive(Debug)]
pub(super) enum Place {
    Unix(UnixListener, Entry),
    Tcp(TcpListener),
}

/// A connection, of whatever kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Place {
    /// A socket at `path`; one that a run before left behind is replaced.
    pub(super) fn unix(path: &Path) -> io::Result<Place> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        // Stricter until here: no umask lets others write to a new socket.
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        let entry = Entry::new(path)?;
        Ok(Place::Unix(listener, entry))
    }

    /// A port. The configuration lets only loopback through.
    pub(super) fn tcp(address: SocketAddr) -> io::Result<Place> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Place::Tcp(TcpListener::from_std(listener)?))
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Place::Unix(listener, _) => Ok(Box::new(listener.accept().await?.0)),
            Place::Tcp(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Place::Unix(_, entry) => entry.path.display().to_string(),
            Place::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|error| error.to_string(), |address| address.to_string()),
        }
    }
}

/// Whether a socket lies there on which nobody listens.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && net::UnixStream::connect(path).err().is_some_and(refused)
}

/// The socket in the file system; dropping it removes it, unless it is another one by now.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
    id: (u64, u64),
}

impl Entry {
    fn new(path: &Path) -> io::Result<Entry> {
        Ok(Entry {
            path: path.to_owned(),
            id: id(path)?,
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if id(&self.path).is_ok_and(|id| id == self.id)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "socket not removed");
        }
    }
}

fn id(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn socket_of_a_killed_run_is_replaced_and_that_of_a_living_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        // A listener that is closed leaves its socket behind, as a killed program does.
        drop(net::UnixListener::bind(&path).unwrap());
        let place = Place::unix(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o660);

        let second = Place::unix(&path).expect_err("somebody listens there");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(place);
        assert!(!path.exists());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_no_socket_or_no_longer_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.sock");
        fs::write(&path, "precious").unwrap();
        assert!(Place::unix(&path).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");

        fs::remove_file(&path).unwrap();
        let place = Place::unix(&path).unwrap();
        fs::rename(&path, folder.path().join("moved")).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(place);
        assert!(path.exists());
    }
}
