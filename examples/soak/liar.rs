//! The plugin that breaks the protocol's rules: it has no session, and writes what it likes into its half.

mod raw;

use std::error::Error;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, send};
use rapace_core::ChannelId;
use rapace_core::channel::{CHANNELS_MAX, ChannelGeneration};
use rapace_core::descriptor::{FrameHeader, Kind};
use rapace_core::layout::header;
use rapace_core::side::Side;
use std::os::fd::AsRawFd;

use crate::contract::TURN_ID;
use crate::temper::{NO_BELL_TOO_MANY, Trick};
use raw::{Raw, Received, answer_header};

/// How long a lie may go unnoticed.
const UNNOTICED: Duration = Duration::from_secs(20);
/// The exit code of a liar that nobody has noticed.
const NOBODY_NOTICED: i32 = 5;
/// Bells that a socket holds, so that nobody can have counted them.
const UNREAD_BELLS_MAX: u64 = 512;
/// Words of a round of scribbling; half of them fall into the header and the rings.
const SCRIBBLED: usize = 2000;
/// The words of the header page and of the ring behind it.
const RULED_WORDS: usize = 1100;
/// A little behind any number of sleeps.
const MANY_BELLS: usize = 5000;
const PAUSE: Duration = Duration::from_millis(1);

/// Answers every call with nothing, and lies once it is told to.
pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let mut liar = Liar { raw: Raw::open()?, trick: None, rounds: 0, rung: 0 };
    while !liar.raw.host_is_gone(PAUSE)? {
        while let Some(request) = liar.raw.take() {
            liar.handle(&request)?;
        }
        if let Some((trick, since)) = liar.trick {
            if since.elapsed() > UNNOTICED {
                let sleeps = liar.raw.fake.load(header::SLEEP) >> 2;
                let (rounds, rung) = (liar.rounds, liar.rung);
                eprintln!("nobody has noticed {trick:?} in {rounds} rounds, {rung} bells rung for {sleeps} sleeps");
                let allowed = trick == Trick::Bells && rung <= sleeps + UNREAD_BELLS_MAX;
                std::process::exit(if allowed { NO_BELL_TOO_MANY } else { NOBODY_NOTICED });
            }
            liar.rounds += 1;
            liar.lie(trick)?;
        }
    }
    Ok(())
}

struct Liar {
    raw: Raw,
    /// What it does, and since when.
    trick: Option<(Trick, Instant)>,
    /// How often, and how many of its bells have found room: for whoever wonders that it was not noticed.
    rounds: u64,
    rung: u64,
}

impl Liar {
    fn handle(&mut self, request: &Received) -> Result<(), Box<dyn Error>> {
        if request.kind != Kind::Request.raw() || request.more {
            return Ok(());
        }
        let rubbish: &[u8] = if self.is_at(Trick::Rubbish) { &[0xff; 20] } else { b"" };
        let rubbish = if request.channel.is_control() { b"" } else { rubbish };
        self.raw.send(&answer_header(request, Kind::Reply), rubbish);
        if request.method == TURN_ID {
            let trick = postcard::from_bytes(&request.inline)?;
            self.trick = Some((trick, Instant::now()));
            if trick == Trick::Mute {
                while !self.raw.host_is_gone(PAUSE)? {}
            }
            if trick == Trick::NoCall {
                let channel = ChannelId::new(Side::A, CHANNELS_MAX - 1, ChannelGeneration::FIRST);
                self.raw.send(&FrameHeader { channel, ..answer_header(request, Kind::Reply) }, b"");
            }
        }
        Ok(())
    }

    fn is_at(&self, trick: Trick) -> bool {
        self.trick.is_some_and(|(at, _)| at == trick)
    }

    /// One round of what it does.
    fn lie(&mut self, trick: Trick) -> Result<(), Box<dyn Error>> {
        let raw = &mut self.raw;
        match trick {
            Trick::Jump => raw.store_sequence(fastrand::u64(1 << 40..)),
            Trick::Descriptors => raw.publish([(); 7].map(|()| fastrand::u64(..))),
            Trick::Scribble => {
                let words = raw.fake.geometry().half_bytes() / 8;
                for index in 0..SCRIBBLED {
                    let bound = if index % 2 == 0 { words } else { RULED_WORDS.min(words) };
                    raw.fake.store(8 * fastrand::usize(..bound), fastrand::u64(..));
                }
                raw.wake();
            }
            Trick::Returns => {
                // The due lap, a slot and a generation; nothing of the kind has been sent.
                (0..raw.fake.geometry().return_capacity())
                    .for_each(|index| raw.fake.store_return(index, 1 << 32 | 1 << 24 | fastrand::u64(..300)));
                raw.wake();
            }
            Trick::Progress => {
                raw.fake.announce(u64::MAX);
                raw.wake();
            }
            Trick::State => raw.fake.store(header::STATE, 9),
            Trick::Bells => self.rung += (0..MANY_BELLS).map(|_| u64::from(raw.ring())).sum::<u64>(),
            Trick::Datagram => {
                // A socket that is full has enough of them.
                let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                let _ = send(raw.fake.socket.as_raw_fd(), &[1, 1], flags);
            }
            _ => {}
        }
        Ok(())
    }
}
