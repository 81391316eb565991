//! What a session counts of its calls, beside what its users have seen.

use std::collections::BTreeMap;

use super::peer::Peer;
use super::world::World;
use crate::calls::Outcome;
use crate::observe::MethodCounts;
use crate::status::Code;

/// What the users of a side have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    sent: u64,
    request_bytes: u64,
    reply_bytes: u64,
    /// Outcomes by the number of their code, 0 where it went well.
    outcomes: BTreeMap<u32, u64>,
    given_up: u64,
    accepted: u64,
}

impl Seen {
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += 1;
        self.item_sent(bytes);
    }

    pub(super) fn item_sent(&mut self, bytes: usize) {
        self.request_bytes += bytes as u64;
    }

    pub(super) fn item_taken(&mut self, bytes: usize) {
        self.reply_bytes += bytes as u64;
    }

    pub(super) fn ended(&mut self, outcome: &Outcome) {
        let code = match outcome {
            Ok(reply) => {
                self.reply_bytes += reply.body.len() as u64;
                0
            }
            Err(error) => error.code().raw(),
        };
        *self.outcomes.entry(code).or_default() += 1;
    }

    pub(super) fn given_up(&mut self) {
        self.given_up += 1;
    }

    pub(super) fn accepted(&mut self) {
        self.accepted += 1;
    }

    fn check(&self, side: impl std::fmt::Display, made: &[MethodCounts]) {
        let sum = |of: fn(&MethodCounts) -> u64| made.iter().map(of).sum::<u64>();
        assert_eq!((sum(MethodCounts::calls), sum(|counts| counts.in_flight)), (self.sent, 0), "calls of side {side}");
        assert_eq!(sum(|counts| counts.request_bytes), self.request_bytes, "bytes that side {side} sent");
        let received = sum(|counts| counts.reply_bytes);
        assert!(received >= self.reply_bytes, "side {side} counts {received} bytes of {}", self.reply_bytes);
        assert!(self.given_up > 0 || self.outcomes.values().sum::<u64>() == self.sent);
        let mut beyond = 0;
        for raw in 0..17 {
            let failed = |counts: &MethodCounts| {
                let of_code = counts.errors.iter().filter(|(code, _)| code.raw() == raw);
                of_code.map(|(_, count)| count).sum::<u64>()
            };
            let counted: u64 = if raw == 0 { sum(|counts| counts.ok) } else { made.iter().map(failed).sum() };
            let seen = self.outcomes.get(&raw).copied().unwrap_or_default();
            assert!(counted >= seen, "side {side} counts {counted} of {seen} with {}", Code::from_raw(raw));
            beyond += counted - seen;
        }
        assert_eq!(beyond, self.given_up, "calls that side {side} has given up");
    }
}

impl World {
    /// Each call is counted once, and so is each byte that was sent.
    pub(super) fn check_counts(&mut self) {
        let mut of_side = |at: usize| {
            let peer: &mut Peer = &mut self.peers[at];
            let counts = peer.is_alive().then(|| peer.with(|state| state.machine.call_counts()))?;
            peer.seen.check(peer.side, &counts.made);
            let served: u64 = counts.served.iter().map(|counts| counts.calls() + counts.in_flight).sum();
            assert!(served >= peer.seen.accepted, "side {} has begun {}", peer.side, peer.seen.accepted);
            Some((peer.seen.sent, served))
        };
        if let (Some((sent, served)), Some((other_sent, other_served))) = (of_side(0), of_side(1)) {
            assert!(served <= other_sent && other_served <= sent, "calls that nobody made are counted");
        }
    }
}
