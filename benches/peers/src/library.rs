//! What is called in process, in a crate of its own as a plugin would be, and what all servers do with a payload.
//!
//! The crate is also a dynamic library, which is loaded with `abi_stable`: `libloading` and a check that both sides mean the
//! same, so that neither needs `unsafe`. The call itself is one through a function's address, as with `libloading` alone.

use abi_stable::library::RootModule;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RSlice, RSliceMut};
use abi_stable::{StableAbi, declare_root_module_statics, export_root_module, package_version_strings};

/// What the dynamic library has.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = LibraryRef)))]
pub struct Library {
    /// As [`Echo::echo`].
    #[sabi(last_prefix_field)]
    pub echo: extern "C" fn(RSlice<'_, u8>, RSliceMut<'_, u8>) -> u64,
}

impl RootModule for LibraryRef {
    declare_root_module_statics! { LibraryRef }

    const BASE_NAME: &'static str = "race_library";
    const NAME: &'static str = "race_library";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What whoever loads it asks for first.
#[export_root_module]
pub fn library() -> LibraryRef {
    Library { echo }.leak_into_prefix()
}

extern "C" fn echo(request: RSlice<'_, u8>, mut reply: RSliceMut<'_, u8>) -> u64 {
    Here.echo(request.as_slice(), reply.as_mut_slice())
}

/// What is called through a `dyn Trait`.
pub trait Echo {
    /// Answers with the same bytes, once it has read them.
    fn echo(&self, request: &[u8], reply: &mut [u8]) -> u64;
}

struct Here;

impl Echo for Here {
    fn echo(&self, request: &[u8], reply: &mut [u8]) -> u64 {
        reply.copy_from_slice(request);
        sum(request)
    }
}

/// An implementation that the compiler does not know at the place of the call.
#[inline(never)]
pub fn implementation() -> Box<dyn Echo> {
    std::hint::black_box(Box::new(Here))
}

/// Reads all bytes: what a receiver of the race does with each payload.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)));
    rest.iter().fold(words, |sum, byte| sum.wrapping_add(u64::from(*byte)))
}

/// What [`sum`] makes of so many bytes of one value.
pub fn sum_of(mark: u8, bytes: usize) -> u64 {
    let word = u64::from_ne_bytes([mark; 8]);
    word.wrapping_mul((bytes / 8) as u64).wrapping_add(u64::from(mark) * (bytes % 8) as u64)
}
