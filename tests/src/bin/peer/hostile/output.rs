//! Megabytes on the standard streams.

use std::io::{self, Write};
use std::thread;

use super::answer_all;
use crate::Failure;
use crate::raw::Raw;

/// Bytes of a line that is longer than any host would keep.
const LINE_BYTES: usize = 1 << 20;

pub(super) fn flood(raw: &mut Raw) -> Result<(), Failure> {
    thread::spawn(|| print(io::stdout()));
    thread::spawn(|| print(io::stderr()));
    answer_all(raw)
}

/// Long lines, short lines and bytes that are no text, until nobody reads them.
fn print(mut stream: impl Write) {
    let (long, short, none) = (vec![b'~'; LINE_BYTES], b"\n".repeat(LINE_BYTES), vec![0xff; LINE_BYTES]);
    while [&long, &short, &none].into_iter().all(|bytes| stream.write_all(bytes).is_ok()) {}
}
