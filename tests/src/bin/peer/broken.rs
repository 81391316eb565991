//! Peers with which no session comes about.

use std::process::ExitCode;

use nix::sys::signal::{Signal, raise};
use rapace_core::ChannelId;
use rapace_core::channel::ChannelGeneration;
use rapace_core::descriptor::{Flags, FrameHeader, Kind, Verb};
use rapace_core::layout::header;
use rapace_core::side::Side;
use rapace_core::socket::Socket;
use rapace_session::{Code, HELLO_BYTES_MAX, Hello, Status};
use rapace_tests::method;

use crate::Failure;
use crate::raw::{Raw, hello};

/// Breaks the handshake off as the behaviour says, and waits for the host to go.
pub(crate) fn run(behaviour: &str) -> Result<ExitCode, Failure> {
    match behaviour {
        "exits" => return Ok(ExitCode::from(7)),
        "dies" => {
            raise(Signal::SIGKILL)?;
        }
        "refuses-the-offer" => {
            let socket = Socket::from_stdin()?;
            socket.send_refusal(Code::FailedPrecondition.raw(), "not today")?;
            socket.wait(None, None)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let mut raw = Raw::accept()?;
    match behaviour {
        "exits-after-the-offer" => return Ok(ExitCode::from(8)),
        "is-silent" => {}
        "says-no-more-than-hello" => say_hello(&mut raw, |_| {})?,
        "is-of-another-version" => say_hello(&mut raw, |hello| hello.major = 2)?,
        "is-in-the-wrong-role" => say_hello(&mut raw, |hello| hello.role = 0)?,
        "takes-too-many-calls" => say_hello(&mut raw, |hello| hello.max_calls = 5000)?,
        "has-a-long-name" => say_hello(&mut raw, |hello| hello.name = "n".repeat(129))?,
        "has-a-broken-registry" => say_hello(&mut raw, |hello| hello.registry = vec![1, 2, 3])?,
        "babbles" => raw.send(&FrameHeader::control(Verb::Hello), &[0xff; 40]),
        "says-more-behind-its-hello" => {
            let bytes = [hello().encode()?, vec![0]].concat();
            raw.send(&FrameHeader::control(Verb::Hello), &bytes);
        }
        "says-a-huge-hello" => raw.send(&FrameHeader::control(Verb::Hello), &vec![0; HELLO_BYTES_MAX + 1]),
        "calls-before-its-hello" => {
            let channel = ChannelId::new(Side::B, 0, ChannelGeneration::FIRST);
            let flags = Flags::NONE;
            let request =
                FrameHeader { channel, method: method::ECHO, kind: Kind::Request, flags, depth: 1, credit: 0 };
            raw.send(&request, b"");
        }
        "accepts-before-its-hello" => raw.send(&FrameHeader::control(Verb::Accept), b""),
        "says-hello-twice" => {
            say_hello(&mut raw, |_| {})?;
            say_hello(&mut raw, |_| {})?;
        }
        "accepts-with-a-body" => {
            say_hello(&mut raw, |_| {})?;
            raw.send(&FrameHeader::control(Verb::Accept), b"gladly");
        }
        "refuses-the-hello" => {
            say_hello(&mut raw, |_| {})?;
            let status = Status::new(Code::PermissionDenied, "your name is not on the list");
            raw.send(&FrameHeader::control(Verb::Refuse), &status.encode());
        }
        "has-another-nonce" => {
            raw.fake.store(header::IDENTITY + 40, 1);
            say_hello(&mut raw, |_| {})?;
        }
        other => return Err(format!("no behaviour {other:?}").into()),
    }
    raw.linger();
    Ok(ExitCode::SUCCESS)
}

fn say_hello(raw: &mut Raw, change: impl FnOnce(&mut Hello)) -> Result<(), Failure> {
    let mut hello = hello();
    change(&mut hello);
    raw.send(&FrameHeader::control(Verb::Hello), &hello.encode()?);
    Ok(())
}
