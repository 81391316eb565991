//! Bytes that say where they belong, and words as bytes.

/// `count` bytes, of which no two stretches are the same; other seeds give other bytes.
pub fn pattern(count: usize, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 8);
    let mut word = seed;
    while bytes.len() < count {
        // Knuth's multiplier for 64-bit linear congruences: each word of a stretch differs.
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// The bytes of some words.
pub fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The word at `index` of some bytes; 0 if there are not so many.
pub fn word(bytes: &[u8], index: usize) -> u64 {
    let bytes = bytes.as_chunks().0.get(index);
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
