//! Traces where somebody listens, in a process of its own: one subscriber changes what is made for all threads.
#![allow(clippy::unwrap_used)]

mod pair;

use pair::pair;
use rapace_macros::service;
use rapace_service::{Context, Incoming, Services, trace};
use rapace_session::NoService;

#[service(name = "test.Traced", version = "1.0", crate = "rapace_service")]
trait Traced {
    async fn trace(&self, ctx: &Context) -> Option<String>;
    async fn count(&self, items: Incoming<bool>) -> u8;
}

struct Impl;

impl Traced for Impl {
    async fn trace(&self, ctx: &Context) -> Option<String> {
        ctx.trace().map(|trace| trace.trace_id.to_string())
    }

    async fn count(&self, mut items: Incoming<bool>) -> u8 {
        let mut count = 0;
        while let Some(item) = items.next().await {
            count += u8::from(item.unwrap());
        }
        count
    }
}

#[test]
fn a_span_on_the_callers_side_takes_the_trace_to_the_handler() {
    let pair = pair(NoService, Services::new().add(TracedServer::new(Impl)));
    let client = TracedClient::new(&pair.host);
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::sink).finish();
    let (blocking, awaited, traced) = tracing::subscriber::with_default(subscriber, || {
        // What a caller's stream does is part of its call.
        let within = std::iter::repeat_with(|| trace::current().is_some()).take(3);
        let traced = client.blocking().count(within).unwrap();
        (client.blocking().trace().unwrap(), pair.host.block_on(client.trace()).unwrap(), traced)
    });
    assert!(blocking.is_some() && awaited.is_some() && blocking != awaited, "{blocking:?} {awaited:?}");
    assert_eq!((traced, trace::current()), (3, None));
}
