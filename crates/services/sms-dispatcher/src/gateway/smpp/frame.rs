//! PDUs as they stand on the wire: cut out by their length, which has a limit, and read one by one,
//! so that one that is wrong spoils no other.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use rusmpp::{
    Command, CommandId, CommandStatus, Pdu,
    decode::DecodeWithLength as _,
    encode::{Length as _, owned::Encode as _},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Length, id, status and sequence number.
const HEADER: usize = 16;
const LENGTH: usize = 4;
/// No PDU that an SMSC has reason to send is longer.
const LONGEST: usize = 16 * 1024;

/// A PDU of which the header alone is known to be right.
#[derive(Debug)]
pub(super) struct Frame {
    pub id: CommandId,
    pub status: u32,
    pub sequence: u32,
    /// All behind the length.
    rest: BytesMut,
}

/// Why nothing more can be read.
#[derive(Debug)]
pub(super) enum Broken {
    Closed,
    /// Where the next PDU begins cannot be known.
    Length,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// The next PDU. What was read of it stays in the buffer, so asking may be given up at any time.
pub(super) async fn next(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
) -> Result<Frame, Broken> {
    loop {
        if let Some(frame) = cut(buffer)? {
            return Ok(frame);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(Broken::Closed);
        }
    }
}

fn cut(buffer: &mut BytesMut) -> Result<Option<Frame>, Broken> {
    let Some(length) = buffer.first_chunk::<LENGTH>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if !(HEADER..=LONGEST).contains(&length) {
        return Err(Broken::Length);
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut rest = buffer.split_to(length);
    rest.advance(LENGTH);
    let mut header = &rest[..HEADER - LENGTH];
    let (id, status, sequence) = (header.get_u32(), header.get_u32(), header.get_u32());
    Ok(Some(Frame { id: CommandId::from(id), status, sequence, rest }))
}

impl Frame {
    /// None where the body is not what the header calls it. Optional parameters that are wrong are
    /// left out of a message, for what must be there says enough.
    pub(super) fn pdu(self) -> Option<Pdu> {
        let whole = decode(self.rest.clone());
        if whole.is_some() || self.id != CommandId::DeliverSm {
            return whole;
        }
        let mut rest = self.rest;
        rest.truncate(mandatory(&rest)?);
        decode(rest)
    }
}

fn decode(mut rest: BytesMut) -> Option<Pdu> {
    let length = rest.len();
    let (command, _) = Command::decode(&mut rest, length).ok()?;
    command.pdu().cloned()
}

/// Where the optional parameters of a deliver_sm begin.
fn mandatory(rest: &[u8]) -> Option<usize> {
    let text = |at: usize| Some(at + rest.get(at..)?.iter().position(|byte| *byte == 0)? + 1);
    let service_type = text(HEADER - LENGTH)?;
    let source = text(service_type + 2)?;
    let destination = text(source + 2)?;
    let times = text(text(destination + 3)?)?;
    let length = times + 4;
    let end = length + 1 + usize::from(*rest.get(length)?);
    (end <= rest.len()).then_some(end)
}

pub(super) fn encode(status: CommandStatus, sequence: u32, pdu: Pdu) -> Bytes {
    let command = Command::new(status, sequence, pdu);
    let length = LENGTH + command.length();
    let mut bytes = BytesMut::with_capacity(length);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    command.encode(&mut bytes);
    bytes.freeze()
}

#[cfg(test)]
mod tests;
