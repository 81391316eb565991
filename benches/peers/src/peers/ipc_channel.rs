//! ipc-channel: a channel each way, whose messages are bytes; what is larger than a packet it moves through sockets by itself.

use std::path::Path;

use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};
use race_library::sum;

use crate::Error;
use crate::peer::{Client, Peer};
use crate::server::{Server, ready};
use crate::work::Work;

pub(super) struct IpcChannel;

const NAME: &str = "ipc-channel";

/// What the server brings: the channel to it, and how it is told where to send to.
type Bootstrap = (IpcBytesSender, IpcSender<IpcBytesSender>);

/// The last byte of a request.
const ECHO: u8 = 0;
const ITEM: u8 = 1;
const SUM: u8 = 2;

impl Peer for IpcChannel {
    fn name(&self) -> &'static str {
        NAME
    }

    fn modes(&self) -> &'static [&'static str] {
        &["bytes"]
    }

    fn crates(&self) -> &'static [&'static str] {
        &["ipc-channel"]
    }

    fn start(&self, mode: &str, place: &Path) -> Result<Box<dyn Client>, Error> {
        let (bootstrap, name) = IpcOneShotServer::<Bootstrap>::new()?;
        std::fs::write(place.join("name"), name)?;
        let server = Server::start(NAME, mode, place)?;
        let (_, (sender, introduction)) = bootstrap.accept()?;
        let (reply_sender, receiver) = bytes_channel()?;
        introduction.send(reply_sender)?;
        Ok(Box::new(Connected { sender, receiver, server }))
    }

    fn serve(&self, _mode: &str, place: &Path) -> Result<(), Error> {
        let bootstrap = IpcSender::<Bootstrap>::connect(std::fs::read_to_string(place.join("name"))?)?;
        let (sender, receiver) = bytes_channel()?;
        let (introduction, introduced) = ipc_channel::ipc::channel()?;
        bootstrap.send((sender, introduction))?;
        ready()?;
        let replies = introduced.recv()?;
        let mut total = 0u64;
        // The last byte says what it is for: it can be taken off without a copy.
        while let Ok(mut body) = receiver.recv() {
            match body.pop() {
                Some(ECHO) => {
                    std::hint::black_box(sum(&body));
                    replies.send(&body)?;
                }
                Some(ITEM) => total = total.wrapping_add(sum(&body)),
                _ => replies.send(&std::mem::take(&mut total).to_le_bytes())?,
            }
        }
        Ok(())
    }
}

struct Connected {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
    server: Server,
}

/// A payload of these bytes, for this purpose.
fn fill(request: &mut [u8], mark: u8, purpose: u8) {
    if let [body @ .., last] = request {
        body.fill(mark);
        *last = purpose;
    }
}

impl Client for Connected {
    fn server_id(&self) -> Option<u32> {
        Some(self.server.id())
    }

    fn sequential(&mut self, work: &mut Work) -> Result<(), Error> {
        let mut request = vec![0; work.bytes() + 1];
        while let Some(mark) = work.begin() {
            fill(&mut request, mark, ECHO);
            self.sender.send(&request)?;
            work.end(&self.receiver.recv()?)?;
        }
        Ok(())
    }

    fn in_flight(&mut self, work: &mut Work) -> Result<bool, Error> {
        let mut request = vec![0; work.bytes() + 1];
        let mut open = 0;
        loop {
            while open < work.depth() {
                let Some(mark) = work.begin() else { break };
                fill(&mut request, mark, ECHO);
                self.sender.send(&request)?;
                open += 1;
            }
            if open == 0 {
                return Ok(true);
            }
            work.end(&self.receiver.recv()?)?;
            open -= 1;
        }
    }

    fn one_way(&mut self, work: &mut Work) -> Result<bool, Error> {
        let mut request = vec![0; work.bytes() + 1];
        while let Some(mark) = work.begin() {
            fill(&mut request, mark, ITEM);
            self.sender.send(&request)?;
        }
        self.sender.send(&[SUM])?;
        let total = self.receiver.recv()?;
        work.settle(u64::from_le_bytes(total.as_slice().try_into()?))?;
        Ok(true)
    }
}
