//! Two system calls without a safe interface, for the actor: `execveat` with an empty path, and a
//! connect through io_uring.
#![expect(
    unsafe_code,
    reason = "execveat and io_uring submission have no safe interface"
)]

use std::{
    ffi::CStr,
    fs::File,
    io,
    net::{SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use io_uring::{IoUring, opcode, types};

/// Becomes the program in `file`; returns only if that failed.
pub fn execveat(file: &File, args: &[&CStr]) -> io::Error {
    let mut argv: Vec<*const libc::c_char> = args.iter().map(|arg| arg.as_ptr()).collect();
    argv.push(std::ptr::null());
    let envp = [std::ptr::null::<libc::c_char>()];
    // SAFETY: the path is a C string, both arrays end in null, and everything outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Connects without calling `connect`: the kernel does it for a submitted request.
///
/// # Errors
/// No io_uring, or the connect failed: then with its errno.
pub fn connect_by_io_uring(address: SocketAddr) -> io::Result<TcpStream> {
    let SocketAddr::V4(v4) = address else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    // SAFETY: plain system call; the result is checked before it becomes an owned descriptor.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours alone.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let target = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: v4.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(v4.ip().octets()),
        },
        sin_zero: [0; 8],
    };
    let request = opcode::Connect::new(
        types::Fd(socket.as_raw_fd()),
        (&raw const target).cast(),
        size_of::<libc::sockaddr_in>() as libc::socklen_t,
    )
    .build();
    let mut ring = IoUring::new(1)?;
    // SAFETY: socket and address outlive the request: its completion is awaited below.
    unsafe { ring.submission().push(&request) }.expect("the queue has room for one request");
    ring.submit_and_wait(1)?;
    let completion = ring
        .completion()
        .next()
        .expect("one completion was awaited");
    match completion.result() {
        0 => Ok(TcpStream::from(socket)),
        errno => Err(io::Error::from_raw_os_error(-errno)),
    }
}
