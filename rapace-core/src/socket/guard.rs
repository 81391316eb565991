//! Keeps out the descriptors that a peer attaches to its messages.
//!
//! Whoever reads such a message, or closes a socket that still has it, closes the descriptors too, and that takes as long as
//! their sender likes: a TCP socket that lingers over what it has yet to send holds the thread up for minutes. So the host's
//! end takes none. Where the kernel knows how (`SO_PASSRIGHTS`, Linux 6.16), it is the sender that fails. Elsewhere each
//! message is looked at before it is read, and what was not read is closed by a thread that nobody waits for.

use std::io::IoSliceMut;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::sys::socket::SetSockOpt;
// The macros name it so.
use nix::libc;
use nix::{setsockopt_impl, sockopt_impl};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, RecvMsg, ReturnFlags, Shutdown, recvmsg, shutdown};

/// From the kernel's headers: neither nix nor rustix has it yet.
const SO_PASSRIGHTS: libc::c_int = 83;

sockopt_impl!(PassRights, SetOnly, libc::SOL_SOCKET, SO_PASSRIGHTS, bool);

/// How descriptors are kept out of a socket.
#[derive(Debug, Default)]
pub(super) enum Guard {
    /// They are not: this end waits for an offer, of a host that is trusted that far.
    #[default]
    Open,
    /// The kernel does.
    Kernel,
    /// Messages are looked at. This duplicate is closed last.
    Looks(LastClose),
}

impl Guard {
    /// For a listening socket: what it accepts has the kernel's part from the start, where there is one.
    pub(super) fn inherit(fd: &OwnedFd) {
        // Elsewhere each connection looks for itself.
        let _ = PassRights.set(fd, &false);
    }

    /// For a socket that is to bring no descriptors.
    pub(super) fn of(fd: &OwnedFd) -> std::io::Result<Self> {
        match PassRights.set(fd, &false) {
            Ok(()) => Ok(Self::Kernel),
            Err(_) => Self::looking(fd),
        }
    }

    fn looking(fd: &OwnedFd) -> std::io::Result<Self> {
        Ok(Self::Looks(LastClose(Some(fd.try_clone()?))))
    }

    /// The socket goes on without.
    pub(super) fn release(mut self) {
        if let Self::Looks(LastClose(fd)) = &mut self {
            *fd = None;
        }
    }

    /// What may be done with the next message.
    pub(super) fn next(&self, fd: BorrowedFd<'_>) -> Next {
        match self {
            Self::Open | Self::Kernel => Next::Read,
            Self::Looks(_) => match peek(fd) {
                Ok(found) if found.flags.contains(ReturnFlags::CTRUNC) => Next::Forbidden,
                Err(Errno::AGAIN) => Next::Leave,
                Ok(_) | Err(_) => Next::Read,
            },
        }
    }
}

/// What may be done with the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It may be read, or the end of the file, or an error.
    Read,
    /// There was none. One that has come since has not been looked at.
    Leave,
    /// It brings descriptors.
    Forbidden,
}

/// Shuts a socket down and closes it where that holds nobody up.
#[derive(Debug)]
pub(super) struct LastClose(Option<OwnedFd>);

impl Drop for LastClose {
    fn drop(&mut self) {
        let Some(fd) = self.0.take() else { return };
        // Nothing comes any more. It can only fail when the connection has ended already.
        let _ = shutdown(&fd, Shutdown::Both);
        // No look tells what there is to close: an empty message looks like the end of the file, whatever stands behind it.
        // Without a thread it is closed here.
        let _ = std::thread::Builder::new().name("rapace-close".to_owned()).spawn(move || drop(fd));
    }
}

/// How the next message would arrive. It stays, and so do its descriptors.
fn peek(fd: BorrowedFd<'_>) -> Result<RecvMsg, Errno> {
    let mut none = RecvAncillaryBuffer::default();
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    retry_on_intr(|| recvmsg(fd, &mut [IoSliceMut::new(&mut [0])], &mut none, flags))
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::mem::MaybeUninit;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg, sockopt};

    use super::super::{BELL, Ring, Socket};
    use super::*;
    use crate::fault::PeerFault;

    /// How long the closing of a lingering socket takes, and how long this must not.
    const LINGERS: Duration = Duration::from_secs(20);

    /// A connection whose last close takes its time, and the end that does not read.
    fn lingering() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let other = listener.accept().unwrap().0;
        sockopt::set_socket_linger(&stream, Some(LINGERS)).unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 1 << 16]).is_ok() {}
        (stream, other)
    }

    /// Rings with a descriptor that is nowhere else then.
    fn ring_with(socket: &Socket, stream: TcpStream) -> Result<(), rustix::io::Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [stream.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(socket, &[IoSlice::new(&[BELL])], &mut control, SendFlags::DONTWAIT).map(drop)
    }

    /// Two ends, the first of which looks, as where the kernel does not know how.
    fn by_looking() -> (Socket, Socket) {
        let (host, plugin) = Socket::pair().unwrap();
        PassRights.set(&host.fd, &true).unwrap();
        (Socket { guard: Guard::looking(&host.fd).unwrap(), ..host }, plugin)
    }

    /// Runs `work`, which must not be held up. (A thread that is would outlive a failed test by a moment.)
    fn at_once<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(work()));
        told.recv_timeout(LINGERS / 2).expect("it is not held up")
    }

    #[test]
    fn the_kernel_lets_no_descriptor_through_to_a_host() {
        let (host, plugin) = Socket::pair().unwrap();
        if !matches!(host.guard, Guard::Kernel) {
            // Before Linux 6.16 it does not know how.
            return;
        }
        let (stream, _other) = lingering();
        assert_eq!(ring_with(&plugin, stream.try_clone().unwrap()), Err(rustix::io::Errno::PERM));
        assert_eq!(host.drain(8).unwrap().bells, 0);
        // Nobody waits in the background when the test ends.
        sockopt::set_socket_linger(&stream, None).unwrap();
    }

    #[test]
    fn a_message_that_brings_a_descriptor_is_a_fault_and_holds_nobody_up() {
        let (host, plugin) = by_looking();
        assert_eq!(plugin.ring().unwrap(), Ring::Rung);
        let (stream, other) = lingering();
        ring_with(&plugin, stream).unwrap();
        drop(plugin);
        let drained = at_once(move || (host.drain(8), drop(host)).0);
        assert_eq!(drained, Err(PeerFault::Descriptors));
        // Lets the thread that closes it end.
        drop(other);
    }

    #[test]
    fn what_was_never_read_holds_nobody_up_either() {
        let (host, plugin) = by_looking();
        let (stream, other) = lingering();
        ring_with(&plugin, stream).unwrap();
        drop(plugin);
        at_once(move || drop(host));
        drop(other);
    }

    #[test]
    fn what_was_never_read_holds_nobody_up_behind_other_messages() {
        for first in [&[BELL][..], &[]] {
            let (host, plugin) = by_looking();
            rustix::net::send(&plugin, first, SendFlags::DONTWAIT).unwrap();
            let (stream, other) = lingering();
            ring_with(&plugin, stream).unwrap();
            drop(plugin);
            at_once(move || drop(host));
            drop(other);
        }
    }

    #[test]
    fn nothing_comes_between_the_last_look_and_the_close() {
        let (host, plugin) = by_looking();
        // As if it were not closed yet.
        let _held = host.fd.try_clone().unwrap();
        drop(host);
        let (stream, _other) = lingering();
        assert_eq!(ring_with(&plugin, stream.try_clone().unwrap()), Err(rustix::io::Errno::PIPE));
        sockopt::set_socket_linger(&stream, None).unwrap();
    }

    #[test]
    fn a_descriptor_that_is_given_up_stays_connected() {
        let (host, plugin) = by_looking();
        let host = host.into_fd();
        assert_eq!(plugin.ring().unwrap(), Ring::Rung);
        assert_eq!(Socket::from_fd(host).unwrap().drain(8).unwrap().bells, 1);
    }

    #[test]
    fn a_host_takes_no_descriptors_however_it_has_come_by_its_end() {
        let (plugin, host) = Socket::pair().unwrap();
        let host = Socket::from_fd(host.into_fd()).unwrap().for_host().unwrap();
        let (stream, _other) = lingering();
        match ring_with(&plugin, stream.try_clone().unwrap()) {
            Ok(()) => assert_eq!(host.drain(8), Err(PeerFault::Descriptors)),
            Err(error) => assert_eq!(error, rustix::io::Errno::PERM),
        }
        sockopt::set_socket_linger(&stream, None).unwrap();
    }

    #[test]
    fn messages_without_descriptors_are_read_as_ever() {
        let (host, plugin) = by_looking();
        for _ in 0..3 {
            assert_eq!(plugin.ring().unwrap(), Ring::Rung);
        }
        assert_eq!(host.drain(8).unwrap().bells, 3);
        drop(plugin);
        assert!(host.drain(8).unwrap().ended);
    }
}
