//! Abuse of the socket.

use std::io::{IoSlice, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::process::parent_id;
use std::process::{Command, Stdio};
use std::thread;

use nix::libc;
use nix::sys::socket::sockopt::Linger;
use nix::sys::socket::{self, ControlMessage, MsgFlags, Shutdown, sendmsg, setsockopt};
use rapace_core::socket::{BELL, Socket};
use rapace_session::Code;
use rapace_tests::service::REST;

use super::{answer, idle, raw_loop};
use crate::Failure;
use crate::raw::{Raw, Received};

/// The argument of a process that does nothing but keep a socket open.
pub(super) const CHILD: &str = "a_child";
/// How long the close of a descriptor takes.
const LINGER_SECONDS: libc::c_int = 3600;

/// Sends any datagram.
pub(super) fn send(raw: &mut Raw, message: &[u8]) -> Result<(), Failure> {
    socket::send(raw.fake.socket.as_raw_fd(), message, MsgFlags::MSG_NOSIGNAL)?;
    idle(raw)
}

pub(super) fn refuse(raw: &mut Raw) -> Result<(), Failure> {
    raw.fake.socket.send_refusal(Code::Unavailable.raw(), "on second thoughts")?;
    idle(raw)
}

/// Rings with descriptors, instead of ringing.
fn ring_with(raw: &Raw, fds: &[RawFd]) -> nix::Result<usize> {
    let rights = [ControlMessage::ScmRights(fds)];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(raw.fake.socket.as_raw_fd(), &[IoSlice::new(&[BELL])], &rights, flags, None)
}

/// Sends the descriptors of its halves with each answer, so many in all.
pub(super) fn send_descriptors(raw: &mut Raw, count: usize) -> Result<(), Failure> {
    let halves = [raw.halves.a.as_raw_fd(), raw.halves.b.as_raw_fd()];
    let fds: Vec<RawFd> = halves.into_iter().cycle().take(count).collect();
    raw_loop(raw, |raw, request| {
        // Whether the kernel takes them or not, this goes on.
        let _ = ring_with(raw, &fds);
        answer(raw, request, b"");
        Ok(())
    })
}

/// Sends connections that linger over what nobody reads: whoever has the last descriptor of one waits when it closes it.
pub(super) fn linger(raw: &mut Raw) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut unread = Vec::new();
    raw_loop(raw, |raw, request: &Received| {
        let mut stream = TcpStream::connect(listener.local_addr()?)?;
        unread.push(listener.accept()?.0);
        stream.set_nonblocking(true)?;
        while stream.write(&[0; 1 << 16]).is_ok() {}
        let linger = libc::linger { l_onoff: 1, l_linger: LINGER_SECONDS };
        setsockopt(&stream, Linger, &linger)?;
        if ring_with(raw, &[stream.as_raw_fd()]).is_err() {
            // It is this process that would wait now.
            setsockopt(&stream, Linger, &libc::linger { l_onoff: 0, l_linger: 0 })?;
        }
        drop(stream);
        answer(raw, request, b"");
        Ok(())
    })
}

pub(super) fn close(raw: &mut Raw) -> Result<(), Failure> {
    // The old one is closed as the new one takes its place.
    raw.fake.socket = Socket::pair()?.0;
    let host = parent_id();
    while parent_id() == host {
        thread::park_timeout(100 * REST);
    }
    Ok(())
}

pub(super) fn stop_listening(raw: &mut Raw) -> Result<(), Failure> {
    socket::shutdown(raw.fake.socket.as_raw_fd(), Shutdown::Read)?;
    let host = parent_id();
    while parent_id() == host {
        // It answers all the same.
        while raw.fake.take().is_some() {}
        thread::park_timeout(REST);
    }
    Ok(())
}

/// Ends, and leaves a process that has the socket.
pub(super) fn leave_a_child(raw: &mut Raw) -> Result<(), Failure> {
    // The child takes the bells from then on.
    let request = raw.receive_request()?;
    let socket = raw.fake.socket.as_fd().try_clone_to_owned()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["hostile", CHILD]).stdin(Stdio::from(socket)).stdout(Stdio::null()).stderr(Stdio::null());
    // It outlives this process, whose parent reaps it.
    drop(command.spawn()?);
    answer(raw, &request, b"");
    std::process::exit(3)
}

/// Keeps the socket that is standard input open until the other end is closed.
pub(super) fn hold() -> Result<(), Failure> {
    let socket = Socket::from_stdin()?;
    while !socket.wait(None, None)?.hangup {
        socket.drain(64)?;
    }
    Ok(())
}
