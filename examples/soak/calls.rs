//! One call of any kind, drawn by chance: what is sent, what is due, and how it ended.

use std::time::Duration;

use fastrand::Rng;
use futures_util::stream;
use rapace::prelude::*;

use crate::contract::{Failure, Load, WorkerBlockingClient, WorkerClient, size};
use crate::temper::Temper;

/// Long enough for any call to a good plugin on a machine that has much else to do.
const PLENTY: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Ping,
    Echo,
    Count,
    Sum,
    Relay,
    Nested,
    Pull,
    /// Has no answer: it ends at its deadline.
    Wait,
}

/// A call to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) method: Method,
    pub(crate) deadline: Duration,
    /// When a task gives it up; a stream that is read by a thread is given up half way.
    pub(crate) give_up: Option<Duration>,
    seed: u64,
    items: u32,
    bytes: u32,
    /// What `echo` is given and what it owes, made before the call begins.
    echo: [Load; 2],
}

/// What a call came to: whether that is what was due, or nothing if it was given up half way.
pub(crate) type Answer = Result<Option<bool>, rapace::Error<Failure>>;

impl Plan {
    pub(crate) fn draw(rng: &mut Rng, temper: Temper) -> Self {
        let method = match rng.u8(..100) {
            0..45 => Method::Ping,
            45..70 => Method::Echo,
            70..77 => Method::Count,
            77..84 => Method::Sum,
            84..90 => Method::Relay,
            90..95 => Method::Nested,
            95..98 => Method::Pull,
            _ => Method::Wait,
        };
        let deadline = Duration::from_millis(match (method, temper) {
            (Method::Wait, _) => rng.u64(1..50),
            (_, Temper::Good) => return Self::of(rng, method, PLENTY),
            (_, Temper::Slow) => rng.u64(20..3000),
            _ => rng.u64(50..1000),
        });
        Self::of(rng, method, deadline)
    }

    fn of(rng: &mut Rng, method: Method, deadline: Duration) -> Self {
        let bytes = if method == Method::Echo {
            match rng.u8(..200) {
                0..150 => rng.u32(..4_000),
                150..198 => rng.u32(..200_000),
                _ => rng.u32(..3_000_000),
            }
        } else {
            let most = if rng.u8(..20) == 0 { 100_000 } else { 2_000 };
            rng.u32(..most)
        };
        let give_up = (rng.u8(..10) == 0).then(|| Duration::from_micros(rng.u64(..5_000)));
        let items = if method == Method::Nested { rng.u32(..6) } else { rng.u32(..40) };
        let seed = rng.u64(..);
        let echoed = if method == Method::Echo { size(bytes) } else { 0 };
        let echo = [Load::new(seed, echoed), Load::new(seed.wrapping_add(1), echoed)];
        Self { method, deadline, give_up, seed, items, bytes, echo }
    }

    fn loads(&self) -> impl Iterator<Item = Load> + Send + use<> {
        let (seed, bytes) = (self.seed, size(self.bytes));
        (0..self.items).map(move |index| Load::of_stream(seed, index, bytes))
    }

    /// Whether these are the items that are due.
    fn is_due(&self, items: &[Load]) -> bool {
        let due = self.loads().map(|load| if self.method == Method::Relay { load.answer() } else { Ok(load) });
        items.iter().cloned().map(Ok).eq(due)
    }

    /// Makes the call on this thread.
    pub(crate) fn call_blocking(&self, worker: &WorkerBlockingClient) -> Answer {
        match self.method {
            Method::Ping => Ok(Some(worker.ping(self.seed)? == self.seed.wrapping_add(1))),
            Method::Echo => Ok(Some(worker.echo(self.echo[0].clone())? == self.echo[1])),
            Method::Count => self.read(worker.count(self.seed, self.items, self.bytes)?),
            Method::Relay => self.read(worker.relay(self.loads())?),
            Method::Sum => Ok(Some(worker.sum(self.loads())? == self.items)),
            Method::Nested => Ok(Some(worker.nested(self.items)? == self.items)),
            Method::Pull => Ok(Some(worker.pull(self.seed, self.items)? == self.items)),
            Method::Wait => Ok(Some(worker.wait().map(|()| false)?)),
        }
    }

    fn read(&self, stream: BlockingIncoming<Load>) -> Answer {
        let most = if self.give_up.is_some() { size(self.items) / 2 } else { usize::MAX };
        let items = stream.take(most).collect::<Result<Vec<_>, _>>()?;
        Ok(self.give_up.is_none().then(|| self.is_due(&items)))
    }

    /// Makes the call in a task.
    pub(crate) async fn call(&self, worker: &WorkerClient) -> Answer {
        let right = match self.method {
            Method::Ping => worker.ping(self.seed).await? == self.seed.wrapping_add(1),
            Method::Echo => worker.echo(self.echo[0].clone()).await? == self.echo[1],
            Method::Count => self.read_all(worker.count(self.seed, self.items, self.bytes).await?).await?,
            Method::Relay => self.read_all(worker.relay(stream::iter(self.loads())).await?).await?,
            Method::Sum => worker.sum(stream::iter(self.loads())).await? == self.items,
            Method::Nested => worker.nested(self.items).await? == self.items,
            Method::Pull => worker.pull(self.seed, self.items).await? == self.items,
            Method::Wait => worker.wait().await.map(|()| false)?,
        };
        Ok(Some(right))
    }

    async fn read_all(&self, mut stream: Incoming<Load>) -> Result<bool, CallError> {
        let mut items = Vec::new();
        while let Some(item) = stream.next().await {
            items.push(item?);
        }
        Ok(self.is_due(&items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_calls() {
        let draw = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..50).map(|_| format!("{:?}", Plan::draw(&mut rng, Temper::Crashing))).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn items_that_are_missing_or_too_many_are_not_those_that_are_due() {
        let echo = [Load::new(0, 0), Load::new(0, 0)];
        let plan = Plan { method: Method::Count, deadline: PLENTY, give_up: None, seed: 3, items: 4, bytes: 10, echo };
        let mut items: Vec<Load> = plan.loads().collect();
        assert!(plan.is_due(&items));
        items.swap(0, 1);
        assert!(!plan.is_due(&items));
        items.swap(0, 1);
        items.push(items[0].clone());
        assert!(!plan.is_due(&items));
        assert!(!plan.is_due(&items[..3]));
    }
}
