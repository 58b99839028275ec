//! Where a page ended, in bytes.

use super::super::api::Cursor;
use crate::db::Cell;
use crate::error::StoreError;

/// The sort values and number of the last match.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Position {
    /// Whether the order was chosen by the store (see [`super::plan`]).
    pub(crate) is_implied: bool,
    /// `Null` stands for "no value".
    pub(crate) values: Vec<Cell>,
    pub(crate) rid: i64,
}

/// Longest sort value kept in a cursor; longer ones do not occur because the index cuts texts.
const VALUE_BYTES_MAX: usize = 4_096;

impl Position {
    pub(crate) fn write(&self) -> Cursor {
        let mut out = vec![1, u8::from(self.is_implied)];
        out.extend_from_slice(&self.rid.to_be_bytes());
        for value in &self.values {
            let (tag, bytes): (u8, Vec<u8>) = match value {
                Cell::Null => (0, Vec::new()),
                Cell::Int(number) => (1, number.to_be_bytes().to_vec()),
                Cell::Bytes(bytes) => (2, bytes.clone()),
                Cell::Text(text) => (3, text.clone().into_bytes()),
            };
            out.push(tag);
            out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            out.extend_from_slice(&bytes);
        }
        Cursor(out)
    }

    /// # Errors
    /// [`StoreError::Invalid`] when the bytes are no cursor.
    pub(crate) fn read(cursor: &Cursor) -> Result<Self, StoreError> {
        Self::parse(&cursor.0)
            .ok_or_else(|| StoreError::Invalid("the cursor is not one of this store".into()))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, mut rest) = bytes.split_at_checked(10)?;
        let (&[1, implied], rid) = (head.first_chunk::<2>()?, head.get(2..)?) else {
            return None;
        };
        let rid = i64::from_be_bytes(rid.try_into().ok()?);
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(3)?;
            let (tag, length) = (
                *head.first()?,
                u16::from_be_bytes(head.get(1..)?.try_into().ok()?) as usize,
            );
            let (value, after) = after
                .split_at_checked(length)
                .filter(|_| length <= VALUE_BYTES_MAX)?;
            values.push(match tag {
                0 => Cell::Null,
                1 => Cell::Int(i64::from_be_bytes(value.try_into().ok()?)),
                2 => Cell::Bytes(value.to_vec()),
                3 => Cell::Text(String::from_utf8(value.to_vec()).ok()?),
                _ => return None,
            });
            rest = after;
        }
        Some(Self {
            is_implied: implied == 1,
            values,
            rid,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_and_broken_ones_are_refused() {
        let values = vec![
            Cell::Null,
            Cell::Int(-5),
            Cell::Bytes(vec![1, 0, 255]),
            Cell::Text("a".into()),
        ];
        let position = Position {
            is_implied: true,
            values,
            rid: 77,
        };
        let cursor = position.write();
        assert_eq!(Position::read(&cursor).unwrap(), position);
        for length in 0..cursor.0.len() {
            let _ = Position::read(&Cursor(cursor.0.get(..length).unwrap().to_vec()));
        }
        assert!(Position::read(&Cursor(vec![9; 30])).is_err());
    }
}
