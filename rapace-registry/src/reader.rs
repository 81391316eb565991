//! Bytes from a peer, read front to back: numbers and names in postcard's encoding.
//!
//! postcard itself accepts several forms of one number. This reader takes the shortest only, so
//! that a registry has one form.

use crate::limits::RegistryLimits;
use crate::parse::ParseError;

/// Where reading stands.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The offset of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The bytes that nobody has read yet.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes read since `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.at]
    }

    /// The next `needed` bytes.
    pub(crate) fn take(&mut self, needed: usize) -> Result<&'a [u8], ParseError> {
        let (at, left) = (self.at, self.left());
        let end = at.checked_add(needed).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(ParseError::Truncated { at, needed, left })?;
        self.at = end;
        Ok(&self.bytes[at..end])
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A number of at most `limit`.
    pub(crate) fn number<T: TryFrom<u64>>(&mut self, what: &'static str, limit: u64) -> Result<T, ParseError> {
        let at = self.at;
        let found = self.varint()?;
        let over = ParseError::OverLimit { at, what, found, limit };
        if found > limit {
            return Err(over);
        }
        T::try_from(found).map_err(|_| over)
    }

    /// A text of at most as many bytes as a name may have.
    pub(crate) fn text(&mut self) -> Result<&'a str, ParseError> {
        let length = self.number("bytes of a name", RegistryLimits::NAME_BYTES_MAX as u64)?;
        let at = self.at;
        std::str::from_utf8(self.take(length)?).map_err(|error| ParseError::NotUtf8 { at: at + error.valid_up_to() })
    }

    /// Says that there is too much of something here.
    pub(crate) fn over_limit(&self, what: &'static str, found: usize, limit: usize) -> ParseError {
        ParseError::OverLimit { at: self.at, what, found: found as u64, limit: limit as u64 }
    }

    /// Seven bits a byte, the lowest first; bit 7 says that another byte follows.
    fn varint(&mut self) -> Result<u64, ParseError> {
        let at = self.at;
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(ParseError::Number { at });
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(ParseError::Number { at })
    }
}
