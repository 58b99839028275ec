//! Reads a characteristic's bytes in order, little endian, and knows when there are too few.
//!
//! Bluetooth Core Specification, GATT: <https://www.bluetooth.com/specifications/specs/>.

use super::GattError;
use super::number::Reading;

/// Bytes still to be read.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, GattError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, GattError> {
        self.array(field).map(u16::from_le_bytes)
    }

    pub(super) fn u24(&mut self, field: &'static str) -> Result<u32, GattError> {
        self.array::<3>(field)
            .map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    pub(super) fn i16(&mut self, field: &'static str) -> Result<i16, GattError> {
        self.array(field).map(i16::from_le_bytes)
    }

    pub(super) fn sfloat(&mut self, field: &'static str) -> Result<Reading, GattError> {
        self.u16(field).map(Reading::sfloat)
    }

    pub(super) fn float(&mut self, field: &'static str) -> Result<Reading, GattError> {
        self.array(field)
            .map(u32::from_le_bytes)
            .map(Reading::float)
    }

    /// Date Time (2A08): year, month, day, hour, minute, second, all local and without a zone.
    /// Zero for year, month or day means "not known": then there is no time, and `None` says so.
    pub(super) fn date_time(&mut self, field: &'static str) -> Result<Option<String>, GattError> {
        let year = self.u16(field)?;
        let [month, day, hour, minute, second] = self.array::<5>(field)?;
        if year == 0 || month == 0 || day == 0 {
            return Ok(None);
        }
        let real =
            chrono::NaiveDate::from_ymd_opt(i32::from(year), u32::from(month), u32::from(day))
                .is_some();
        // The service allows years from 1582; a day that no calendar has is a broken clock, not a time.
        if !real || hour > 23 || minute > 59 || second > 59 {
            return Err(GattError::Range { field });
        }
        Ok(Some(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )))
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may follow what the flags announced.
    pub(super) fn end(&self) -> Result<(), GattError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(GattError::TooLong {
                bytes: self.rest.len(),
            })
        }
    }

    /// The next `count` bytes as a reader of their own.
    pub(super) fn split(
        &mut self,
        count: usize,
        field: &'static str,
    ) -> Result<&'a [u8], GattError> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(GattError::TooShort { field })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], GattError> {
        let (head, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(GattError::TooShort { field })?;
        self.rest = rest;
        Ok(*head)
    }
}
