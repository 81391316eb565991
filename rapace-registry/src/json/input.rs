//! The bytes of a value, read front to back, and what is made of them, within a bound.

use super::error::{ValueError, ValueProblem};
use super::path::Path;

pub(super) struct Input<'a> {
    /// Where in the value the next bytes belong.
    pub(super) path: Path<'a>,
    /// What is left.
    bytes: &'a [u8],
    /// Memory that the value takes so far.
    taken: usize,
    taken_max: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8], taken_max: usize) -> Self {
        Self { path: Path::default(), bytes, taken: 0, taken_max }
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), ValueError> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(self.path.error(ValueProblem::Trailing { left })),
        }
    }

    /// The value takes this much more memory.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), ValueError> {
        self.taken = self.taken.saturating_add(bytes);
        if self.taken > self.taken_max {
            return Err(self.path.error(ValueProblem::TooLarge { bound: self.taken_max }));
        }
        Ok(())
    }

    pub(super) fn text(&mut self) -> Result<&'a str, ValueError> {
        let bytes = self.counted_bytes()?;
        std::str::from_utf8(bytes).map_err(|error| self.path.error(ValueProblem::NotUtf8 { at: error.valid_up_to() }))
    }

    pub(super) fn counted_bytes(&mut self) -> Result<&'a [u8], ValueError> {
        let count = self.count()?;
        self.take(count)
    }

    pub(super) fn count(&mut self) -> Result<usize, ValueError> {
        Ok(usize::try_from(self.varint(64)?).unwrap_or(usize::MAX))
    }

    pub(super) fn flag(&mut self, what: &'static str) -> Result<bool, ValueError> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [byte] => Err(self.path.other(format!("{what} (0 or 1)"), byte.to_string())),
        }
    }

    /// Seven bits a byte, the lowest first; bit 7 says that another byte follows. As postcard does, this takes longer
    /// forms than the shortest, within the bytes that the largest number has.
    pub(super) fn varint(&mut self, bits: u32) -> Result<u128, ValueError> {
        let mut number = 0;
        for shift in (0..bits).step_by(7) {
            let [byte] = self.array()?;
            let part = u128::from(byte & 0x7f);
            if shift + 7 > bits && part >> (bits - shift) != 0 {
                break;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.path.error(ValueProblem::Number { bits }))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, needed: usize) -> Result<&'a [u8], ValueError> {
        let left = self.bytes.len();
        let split = self.bytes.split_at_checked(needed);
        let (taken, rest) = split.ok_or_else(|| self.path.error(ValueProblem::Truncated { needed, left }))?;
        self.bytes = rest;
        Ok(taken)
    }
}
