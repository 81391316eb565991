//! Whatever becomes of them, slots are counted: loans, copies, payloads and views in any order.

use std::collections::VecDeque;

use proptest::prelude::*;
use rapace_core::Link;
use rapace_core::descriptor::Payload;
use rapace_core::link::{Loan, PayloadView, SendRefusal};
use rapace_core::slots::Class;

use super::{SLOT_BYTES, header, links, take};

#[derive(Clone, Copy, Debug)]
enum Op {
    Copy { class: Class, bytes: usize },
    Lend { class: Class, bytes: usize },
    SendLoan { which: usize, offset: usize, cut: usize },
    ReturnLoan { which: usize },
    Receive,
    Take { which: usize },
    Discard { which: usize },
    View { which: usize },
    ReturnView { which: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let class = prop::sample::select(vec![Class::Item, Class::Request]);
    let sized = (class, prop_oneof![3 => 0usize..300, 1 => 0usize..5000]);
    prop_oneof![
        2 => sized.clone().prop_map(|(class, bytes)| Op::Copy { class, bytes }),
        3 => sized.prop_map(|(class, bytes)| Op::Lend { class, bytes }),
        3 => (0usize..100, 0usize..8, 0usize..300)
            .prop_map(|(which, words, cut)| Op::SendLoan { which, offset: 8 * words, cut }),
        1 => (0usize..100).prop_map(|which| Op::ReturnLoan { which }),
        5 => Just(Op::Receive),
        2 => (0usize..100).prop_map(|which| Op::Take { which }),
        1 => (0usize..100).prop_map(|which| Op::Discard { which }),
        3 => (0usize..100).prop_map(|which| Op::View { which }),
        2 => (0usize..100).prop_map(|which| Op::ReturnView { which }),
    ]
}

/// A host that sends, a plugin that reads, and what each of them has in its hands.
struct Pair {
    host: Link,
    plugin: Link,
    stamp: u8,
    /// Each with the byte that it is full of.
    loans: Vec<(Loan, u8)>,
    /// On their way: the byte, and how many.
    sent: VecDeque<(u8, usize)>,
    payloads: Vec<(Payload, u8, usize)>,
    views: Vec<(PayloadView, u8, usize)>,
    /// Slots that are on their way or at the plugin.
    out: usize,
}

fn pick<T>(list: &mut Vec<T>, which: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(which % list.len()))
}

/// Slots that a payload in slots takes.
fn slots(payload: Payload) -> usize {
    match payload {
        Payload::Inline(..) => 0,
        Payload::Slots(run) => run.slots as usize,
    }
}

fn slots_at(offset: usize, bytes: usize) -> usize {
    if bytes <= 24 { 0 } else { (offset + bytes).div_ceil(SLOT_BYTES) }
}

impl Pair {
    fn new() -> Self {
        let (host, plugin) = links();
        let (loans, payloads, views) = (Vec::new(), Vec::new(), Vec::new());
        Self { host, plugin, stamp: 0, loans, sent: VecDeque::new(), payloads, views, out: 0 }
    }

    fn stamp(&mut self) -> u8 {
        self.stamp = self.stamp.wrapping_add(1);
        self.stamp
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Copy { class, bytes } => {
                let stamp = self.stamp();
                if self.host.try_send(class, &header(), &[&vec![stamp; bytes]]).is_ok() {
                    self.sent.push_back((stamp, bytes));
                    self.out += slots_at(0, bytes);
                }
            }
            Op::Lend { class, bytes } => {
                let stamp = self.stamp();
                if let Ok(mut loan) = self.host.try_loan(class, bytes) {
                    loan.fill(stamp);
                    self.loans.push((loan, stamp));
                }
            }
            Op::SendLoan { which, offset, cut } => {
                let Some((loan, stamp)) = pick(&mut self.loans, which) else { return };
                let end = loan.len().saturating_sub(cut).max(offset);
                assert!(loan.iter().all(|byte| *byte == stamp), "somebody wrote into a loan");
                match self.host.send_loan(loan, offset..end, &header()) {
                    Ok(()) => {
                        self.sent.push_back((stamp, end - offset));
                        self.out += slots_at(offset, end - offset);
                    }
                    Err((loan, refusal)) => {
                        assert_eq!(refusal, SendRefusal::RingFull);
                        self.loans.push((loan, stamp));
                    }
                }
            }
            Op::ReturnLoan { which } => {
                let Some((loan, _)) = pick(&mut self.loans, which) else { return };
                self.host.return_loan(loan);
            }
            Op::Receive => {
                let Some(frame) = self.plugin.receive().unwrap() else { return assert!(self.sent.is_empty()) };
                let (stamp, bytes) = self.sent.pop_front().unwrap();
                self.payloads.push((frame.payload, stamp, bytes));
            }
            Op::Take { which } => {
                let Some((payload, stamp, bytes)) = pick(&mut self.payloads, which) else { return };
                assert!(take(&mut self.plugin, payload) == vec![stamp; bytes], "another payload");
                self.out -= slots(payload);
            }
            Op::Discard { which } => {
                let Some((payload, ..)) = pick(&mut self.payloads, which) else { return };
                self.plugin.discard(payload);
                self.out -= slots(payload);
            }
            Op::View { which } => {
                let Some((payload, stamp, bytes)) = pick(&mut self.payloads, which) else { return };
                match self.plugin.view_payload(payload) {
                    Ok(view) => self.views.push((view, stamp, bytes)),
                    Err(payload) => self.payloads.push((payload, stamp, bytes)),
                }
            }
            Op::ReturnView { which } => {
                let Some((view, ..)) = pick(&mut self.views, which) else { return };
                self.out -= view.slots() as usize;
                self.plugin.return_view(view);
            }
        }
    }

    fn check(&mut self) {
        let lent: usize = self.loans.iter().map(|(loan, _)| loan.len() / SLOT_BYTES).sum();
        let free = self.host.free_slots().unwrap() as usize;
        assert_eq!(free + lent + self.out, self.host.geometry().slot_count() as usize);
        let held: usize = self.payloads.iter().map(|(payload, ..)| slots(*payload)).sum();
        let viewed: usize = self.views.iter().map(|(view, ..)| view.slots() as usize).sum();
        assert_eq!(self.plugin.held_slots() as usize, held + viewed);
        for (view, stamp, bytes) in &self.views {
            assert!(**view == vec![*stamp; *bytes], "a view changed");
        }
    }
}

proptest! {
    #[test]
    fn slots_are_counted_whatever_becomes_of_them(ops in prop::collection::vec(op(), 0..120)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.run(op);
            pair.check();
        }
        for _ in 0..200 {
            let rest = [Op::ReturnLoan { which: 0 }, Op::Receive, Op::Discard { which: 0 }, Op::ReturnView { which: 0 }];
            rest.into_iter().for_each(|op| pair.run(op));
        }
        pair.check();
        prop_assert_eq!(pair.host.free_slots(), Ok(pair.host.geometry().slot_count()));
        prop_assert_eq!((pair.plugin.held_slots(), pair.plugin.held_runs()), (0, 0));
    }
}
