//! Target `descriptor`: the check of descriptors against the oracle.

use arbitrary::{Arbitrary, Unstructured};
use rapace_core::Side;
use rapace_core::descriptor::{AllegedDescriptor, BODY_WORDS, Frame, Payload, Run, encode};
use rapace_core::held::HeldSlots;

use crate::fields::Fields;
use crate::oracle::Oracle;
use crate::shape::Shape;

#[derive(Debug)]
enum Op {
    Raw([u64; BODY_WORDS]),
    Shaped(Shape),
    /// The last descriptor once more.
    Replay,
    /// Returns one of the runs that are held.
    Release(u8),
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(match u.int_in_range(0..=15)? {
            0 => Self::Raw(u.arbitrary()?),
            1 => Self::Replay,
            2..=4 => Self::Release(u.arbitrary()?),
            _ => Self::Shaped(u.arbitrary()?),
        })
    }
}

/// Checks descriptors by chance, one after the other against one table of held slots.
///
/// What is accepted breaks no rule of the oracle, means what the words say, and lies in the half apart from all that is
/// held; what is refused breaks the rule that is named, and leaves the table as it was.
pub fn descriptor(data: &[u8]) {
    // An error says that the bytes are used up.
    let _ = run(&mut Unstructured::new(data));
}

fn run(u: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let geometry = crate::geometry(u.arbitrary()?);
    let sender = if u.arbitrary()? { Side::A } else { Side::B };
    let mut held = HeldSlots::new(geometry.slot_count());
    let mut oracle = Oracle::new(sender, &geometry);
    let mut runs: Vec<Run> = Vec::new();
    let mut last = Fields::default();
    while !u.is_empty() {
        let fields = match u.arbitrary()? {
            Op::Raw(words) => Fields::from_words(&words),
            Op::Shaped(shape) => shape.fields(sender, &geometry, |slot| oracle.next_generation(slot)),
            Op::Replay => last,
            Op::Release(which) => {
                if !runs.is_empty() {
                    let run = runs.swap_remove(usize::from(which) % runs.len());
                    held.release(&run);
                    oracle.leave(range(&run));
                }
                continue;
            }
        };
        last = fields;
        let broken = oracle.broken(&fields);
        match AllegedDescriptor::new(fields.words()).check(sender, &geometry, &mut held) {
            Err(fault) => assert!(broken.contains(&fault.rule()), "{fault}, but {broken:?} are broken: {fields:?}"),
            Ok(frame) => {
                assert!(broken.is_empty(), "accepted, but {broken:?} are broken: {fields:?}");
                assert_means(&frame, &fields);
                oracle.enter(&fields);
                if let Payload::Slots(run) = frame.payload {
                    assert_eq!(Some(range(&run)), oracle.run(&fields), "{run:?}");
                    runs.push(run);
                }
            }
        }
        assert_eq!(held.runs() as usize, runs.len());
    }
    Ok(())
}

/// Asserts that a frame says what the words say, both read and written again.
fn assert_means(frame: &Frame, fields: &Fields) {
    let header = frame.header;
    assert_eq!((header.channel.raw(), header.method, header.credit), (fields.channel, fields.method, fields.credit));
    assert_eq!((header.kind.raw(), u32::from(header.depth)), (fields.kind(), fields.depth()));
    assert_eq!(frame.payload.bytes(), fields.length as usize);
    let mut expected = *fields;
    if !fields.is_inline() {
        expected.inline = [0; 3];
    }
    assert_eq!(Fields::from_words(&encode(&header, &frame.payload)), expected);
}

fn range(run: &Run) -> std::ops::Range<usize> {
    run.slot as usize..(run.slot + run.slots) as usize
}
