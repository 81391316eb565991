//! A reader that is slower than the sender.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rapace_session::{Body, CallError};

use crate::stream::{Load, check, rest};

/// After so many items it rests.
const BURST: u64 = 20_000;
/// It rests until so many bytes are kept, which the default window of small items has room for twice over.
pub const LAG: usize = 64 << 10;
/// No fewer items fill the window, so that the sender gets so far.
const WINDOW_ITEMS: u64 = (256 << 10) / 64;
const PATIENCE: Duration = Duration::from_secs(30);

/// Takes all items of a load, which are small; gives how many came, and the most bytes that were kept while it rested.
///
/// # Errors
///
/// The call's, or data loss.
pub async fn take_slowly(
    load: Load,
    mut poll_next: impl FnMut(&mut Context<'_>) -> Poll<Result<Option<Body>, CallError>>,
    kept: impl Fn() -> usize,
) -> Result<(u64, u64), CallError> {
    let (mut count, mut most) = (0, 0);
    while let Some(item) = poll_fn(&mut poll_next).await? {
        load.check(count, &item)?;
        count += 1;
        if count.is_multiple_of(BURST) && count + WINDOW_ITEMS < load.count {
            let start = Instant::now();
            while kept() < LAG {
                check(start.elapsed() < PATIENCE, || format!("only {} bytes are kept at item {count}", kept()))?;
                rest().await;
            }
            most = most.max(kept() as u64);
        }
    }
    Ok((count, most))
}
