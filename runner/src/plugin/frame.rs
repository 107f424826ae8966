//! What goes over the pipes between meshrun and the process of a plugin: `u32 length | kind | name | newline | body`.
//!
//! The length counts what follows it and is little-endian. Names are those of methods and services; bodies are JSON.

use std::io::{self, Read, Write};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// More than any answer, less than the memory of a small CI machine.
const LARGEST: usize = 64 * 1024 * 1024;
/// A body of this size fits into a frame, whatever its name.
pub(super) const LARGEST_BODY: usize = LARGEST - 4096;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// From the plugin's process: it is loaded.
    Ready = 1,
    /// From the plugin's process: it cannot be loaded; a `LoadError`.
    Refused = 2,
    /// To the plugin: describe yourself.
    Describe = 3,
    /// To the plugin: answer this method; its request.
    Call = 4,
    /// From the plugin: the answer.
    Answer = 5,
    /// From the plugin: a `Failure`.
    Failed = 6,
    /// From the plugin: call this service; its request. Either of the next two follows.
    Service = 7,
    /// To the plugin: what the service answered.
    ServiceAnswer = 8,
    /// To the plugin: the service's `Failure`.
    ServiceFailed = 9,
    /// From the plugin: a `LogEvent`.
    Emit = 10,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Ready,
        Self::Refused,
        Self::Describe,
        Self::Call,
        Self::Answer,
        Self::Failed,
        Self::Service,
        Self::ServiceAnswer,
        Self::ServiceFailed,
        Self::Emit,
    ];
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) body: String,
}

impl Frame {
    pub(super) fn new(kind: Kind, name: &str, body: impl Into<String>) -> Self {
        Self { kind, name: name.into(), body: body.into() }
    }

    pub(super) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length)?;
        let mut rest = vec![0; size(length)?];
        from.read_exact(&mut rest)?;
        Self::decode(rest)
    }

    pub(super) async fn receive(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut length = [0; 4];
        from.read_exact(&mut length).await?;
        let mut rest = vec![0; size(length)?];
        from.read_exact(&mut rest).await?;
        Self::decode(rest)
    }

    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.encode()?)?;
        to.flush()
    }

    pub(super) async fn send(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        to.write_all(&self.encode()?).await?;
        to.flush().await
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let length = 1 + self.name.len() + 1 + self.body.len();
        let prefix = u32::try_from(length).ok().filter(|_| length <= LARGEST && !self.name.contains('\n'));
        let prefix = prefix.ok_or_else(|| invalid(format!("a message of {length} bytes")))?;
        let mut bytes = Vec::with_capacity(4 + length);
        bytes.extend(prefix.to_le_bytes());
        bytes.push(self.kind as u8);
        bytes.extend(self.name.as_bytes());
        bytes.push(b'\n');
        bytes.extend(self.body.as_bytes());
        Ok(bytes)
    }

    fn decode(mut rest: Vec<u8>) -> io::Result<Self> {
        let kind = rest.first().and_then(|byte| Kind::ALL.into_iter().find(|kind| *kind as u8 == *byte));
        let kind = kind.ok_or_else(|| invalid("a message of unknown kind"))?;
        rest.remove(0);
        let mut name = String::from_utf8(rest).map_err(|_| invalid("a message that is no text"))?;
        let end = name.find('\n').ok_or_else(|| invalid("a message without a name"))?;
        let body = name.split_off(end + 1);
        name.truncate(end);
        Ok(Self { kind, name, body })
    }
}

fn size(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(length) as usize;
    if length <= LARGEST { Ok(length) } else { Err(invalid(format!("a message of {length} bytes"))) }
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_what_it_writes(kind in 0..Kind::ALL.len(), name in "[a-z./0-9]*", body in ".*\n?.*") {
            let frame = Frame::new(Kind::ALL[kind], &name, body);
            let bytes = frame.encode().expect("it is small");
            prop_assert_eq!(Frame::read(&mut bytes.as_slice()).expect("it is whole"), frame);
        }

        #[test]
        fn survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Frame::read(&mut bytes.as_slice());
        }
    }

    #[test]
    fn refuses_a_length_that_cannot_be_meant() {
        let error = Frame::read(&mut [0xff; 8].as_slice()).expect_err("four gigabytes");
        assert_eq!(error.to_string(), "a message of 4294967295 bytes");
    }

    #[test]
    fn a_pipe_that_ends_within_a_frame_is_an_end() {
        let bytes = Frame::new(Kind::Answer, "", "{}").encode().expect("it is small");
        let error = Frame::read(&mut &bytes[..6]).expect_err("cut short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
