//! One record on disk: length, CRC-32C, protobuf.

use longhaul_proto::Record;
use prost::Message as _;

/// Bytes before the payload: length and checksum, both little endian u32.
pub const HEAD_BYTES: usize = 8;

/// Largest record: a plan of 1,000,000 nodes is well below.
pub const RECORD_BYTES_MAX: usize = 1 << 30;

/// Why bytes are no record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// Fewer bytes than its head or length says.
    #[error("it ends in the middle")]
    Short,
    /// A length that cannot be.
    #[error("its length of {0} bytes cannot be")]
    Length(u32),
    /// The checksum does not fit.
    #[error("its checksum does not fit")]
    Checksum,
    /// The payload is no record this build knows.
    #[error("it is no event this version knows (written by a newer longhaul?)")]
    Unknown,
}

/// Appends a record's bytes to a buffer.
pub fn encode_frame(record: &Record, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    record.encode(out).expect("a vector grows as needed");
    let len = u32::try_from(out.len() - start - HEAD_BYTES).expect("a record is below 1 GiB");
    let crc = crc32c::crc32c_append(crc32c::crc32c(&len.to_le_bytes()), &out[start + HEAD_BYTES..]);
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 4..start + HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the record at the beginning of `bytes`; gives it with the bytes it takes.
pub fn decode_frame(bytes: &[u8]) -> Result<(Record, usize), RecordError> {
    let word = |at: usize| {
        let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
        four.map(u32::from_le_bytes).ok_or(RecordError::Short)
    };
    let (len, crc) = (word(0)?, word(4)?);
    if len == 0 || len as usize > RECORD_BYTES_MAX {
        return Err(RecordError::Length(len));
    }
    let end = HEAD_BYTES + len as usize;
    let payload = bytes.get(HEAD_BYTES..end).ok_or(RecordError::Short)?;
    if crc32c::crc32c_append(crc32c::crc32c(&len.to_le_bytes()), payload) != crc {
        return Err(RecordError::Checksum);
    }
    let record = Record::decode(payload).map_err(|_| RecordError::Unknown)?;
    // An unknown event decodes as no event at all: refused, never skipped.
    if record.event.is_none() { Err(RecordError::Unknown) } else { Ok((record, end)) }
}
