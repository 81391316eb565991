//! Items: what they hold, so that none is lost, doubled or out of its place unnoticed.

/// What an item costs its sender beside its bytes (SPEC C14).
pub(super) const ITEM_COST: i64 = 64;

/// The item of this number in its stream.
pub(super) fn item(number: u64, bytes: usize) -> Vec<u8> {
    let [low, ..] = number.to_le_bytes();
    crate::pattern(bytes).into_iter().map(|byte| byte ^ low).collect()
}

/// Whether this is the item of this number.
pub(super) fn is_item(body: &[u8], number: u64) -> bool {
    *body == item(number, body.len())
}

/// Two counts, as the body of a reply: items that its sender has sent, and those that it has taken if it has seen their end.
pub(super) fn counts(sent: u64, taken: Option<u64>) -> Vec<u8> {
    [sent.to_le_bytes(), taken.unwrap_or(u64::MAX).to_le_bytes()].concat()
}

/// The counts in a reply, if it holds any.
pub(super) fn read_counts(body: &[u8]) -> Option<(u64, Option<u64>)> {
    let (sent, rest) = body.split_first_chunk()?;
    let taken = u64::from_le_bytes(rest.try_into().ok()?);
    Some((u64::from_le_bytes(*sent), (taken != u64::MAX).then_some(taken)))
}
