//! Names and ids of methods, by the rules of the registry (SPEC G2, section 13.1).

/// The largest id that an author may choose; those above are derived from names.
pub(crate) const EXPLICIT_MAX: u32 = (1 << 31) - 1;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What is wrong with the name of a service or a method, if anything is.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Some(format!("a name has 1 to {NAME_BYTES_MAX} bytes, this one has {}", name.len()));
    }
    let first = name.chars().next().filter(|first| !first.is_ascii_alphabetic());
    if let Some(first) = first {
        return Some(format!("a name starts with an ASCII letter, this one with {first:?}"));
    }
    let bad = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'))?;
    Some(format!("a name has ASCII letters, digits, `.`, `_` and `-`, this one has {bad:?}"))
}

/// The id that follows from the names: FNV-1a-32 of `service.method`, with bit 31 set (SPEC G2).
pub(crate) fn derived(service: &str, method: &str) -> u32 {
    let bytes = service.bytes().chain([b'.']).chain(method.bytes());
    bytes.fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) | (1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_id_is_the_published_hash_with_bit_31_set() {
        // FNV-1a-32 of "a.b" by hand: each byte xored in, then times 0x01000193.
        let by_hand = [b'a', b'.', b'b']
            .iter()
            .fold(0x811c_9dc5u64, |hash, byte| ((hash ^ u64::from(*byte)) * 0x0100_0193) & 0xffff_ffff);
        assert_eq!(u64::from(derived("a", "b")), by_hand | 0x8000_0000);
    }

    #[test]
    fn names_are_those_of_the_registry() {
        for name in ["a", "rapace.Plugin", "Logger.log", "a-b_9"] {
            assert_eq!(name_problem(name), None, "{name}");
        }
        for name in ["", "1a", ".a", "a b", "é", "aé", &"a".repeat(129)] {
            assert!(name_problem(name).is_some(), "{name}");
        }
    }
}
