//! The table by itself: which channel names a call.

use rapace_core::Side;
use rapace_core::channel::ChannelGeneration;

use super::*;

fn request(channel: ChannelId) -> FrameHeader {
    FrameHeader { channel, method: 7, kind: Kind::Request, flags: Flags::NONE, depth: 1, credit: 0 }
}

#[test]
fn a_call_is_wanted_on_its_own_channel_until_it_is_cancelled() {
    let (first, second) = (ChannelGeneration::FIRST, ChannelGeneration::FIRST.next());
    let at = |index, generation| ChannelId::new(Side::B, index, generation);
    let (now, lifecycle) = (at(2, second), ChannelId::CONTROL);
    let mut table = ServedTable::new(4);
    assert!(!table.is_wanted(now) && !table.is_wanted(lifecycle));
    table.enter(2, &request(now), 0, true);
    table.enter(4, &request(lifecycle), 0, true);
    assert!(table.is_wanted(now) && table.is_wanted(lifecycle));
    for other in [at(2, first), at(1, second), at(4, second), at(9, second)] {
        assert!(!table.is_wanted(other), "{other:?}");
    }
    table.cancel(now, &mut 0, &mut Vec::new());
    assert!(!table.is_wanted(now) && table.is_wanted(lifecycle));
    table.cancel(lifecycle, &mut 0, &mut Vec::new());
    assert!(!table.is_wanted(lifecycle));
}
