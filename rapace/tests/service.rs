//! A service by `rapace` alone, in a crate that is strict about its own code.
#![deny(warnings, missing_docs, unreachable_pub, clippy::pedantic)]
#![allow(clippy::unwrap_used)]

use rapace::prelude::*;

/// What both sides know.
pub mod contract {
    use rapace::{Context, Incoming, Stream};

    /// Why a word is not said.
    #[rapace::message]
    #[derive(Eq)]
    pub enum Refusal {
        /// It is too long.
        TooLong {
            /// Its bytes.
            bytes: u64,
        },
    }

    /// Says words.
    #[rapace::service(name = "facade.Speaker", version = "2.1", provider = "plugin")]
    pub trait Speaker {
        /// Says one.
        async fn say(&self, ctx: &Context, word: &str) -> Result<String, Refusal>;
        /// Says many.
        fn chant(&self, words: Incoming<String>) -> impl Stream<Item = String>;
        /// Counts bytes.
        async fn count(&self, bytes: &[u8], more: Vec<u8>) -> u64;
        /// Does nothing.
        async fn rest(&self);
    }

    #[rapace::service(name = "facade.Private", version = "1.0")]
    pub(crate) trait Private {
        async fn nothing(&self);
    }
}

use contract::{PrivateClient, Refusal, Speaker, SpeakerClient, SpeakerServer};

struct Impl;

impl Speaker for Impl {
    async fn say(&self, ctx: &Context, word: &str) -> Result<String, Refusal> {
        match word.len() as u64 {
            bytes @ 10.. => Err(Refusal::TooLong { bytes }),
            _ => Ok(format!("{word}, {}", ctx.peer())),
        }
    }

    fn chant(&self, words: Incoming<String>) -> impl Stream<Item = String> {
        Chant(words)
    }

    async fn count(&self, bytes: &[u8], more: Vec<u8>) -> u64 {
        (bytes.len() + more.len()) as u64
    }

    async fn rest(&self) {}
}

struct Chant(Incoming<String>);

impl Stream for Chant {
    type Item = String;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<String>> {
        std::pin::Pin::new(&mut self.0).poll_next(cx).map(|word| Some(word?.ok()? + "!"))
    }
}

#[test]
fn a_service_needs_nothing_but_rapace() {
    let (a, b) = rapace::socket::Socket::pair().unwrap();
    let services = Services::new().add(SpeakerServer::new(Impl)).calls::<PrivateClient>();
    let ours = Config { registry: services.registry().unwrap(), ..Config::new("plugin", "1") };
    let theirs = Services::new().calls::<SpeakerClient>().registry().unwrap();
    let plugin = std::thread::spawn(move || {
        let plugin = Handshake::<PeerB>::accept(b, ours).unwrap().finish(services).unwrap();
        plugin.serve();
    });
    let config = Config { registry: theirs, ..Config::new("host", "1") };
    let host = Handshake::<PeerA>::offer(a, None, config).unwrap().finish(NoService).unwrap();
    let speaker = SpeakerClient::new(&host).blocking();
    assert_eq!(speaker.say("hello"), Ok("hello, host".to_owned()));
    assert_eq!(speaker.say("0123456789"), Err(Error::Service(Refusal::TooLong { bytes: 10 })));
    assert_eq!(speaker.count(&[1, 2], vec![3]), Ok(3));
    assert_eq!(speaker.rest(), Ok(()));
    let words = ["one", "two"].map(str::to_owned);
    assert_eq!(speaker.chant(words).unwrap().collect::<Result<Vec<_>, _>>().unwrap(), ["one!", "two!"]);
    drop((speaker, host));
    plugin.join().unwrap();
}
