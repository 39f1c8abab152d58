//! Bytes to and from the server, with a limit on every wait.

use std::{future::poll_fn, io, pin::Pin, task::Poll, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::timeout,
};

/// RFC 5321 allows 512 octets a line; some servers write more.
const LONGEST_REPLY: usize = 64 * 1024;

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    Lost,
    Timeout,
    /// Not SMTP.
    Garbled,
}

impl From<io::Error> for Silence {
    fn from(_: io::Error) -> Self {
        Self::Lost
    }
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub code: u16,
    /// RFC 3463, such as `5.1.1`.
    enhanced: Option<String>,
    /// Without their codes.
    pub lines: Vec<String>,
}

impl Reply {
    pub(crate) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub(crate) fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// The codes without the text, which may name people: `550 5.1.1`.
    pub(crate) fn codes(&self) -> String {
        match &self.enhanced {
            Some(enhanced) => format!("{} {enhanced}", self.code),
            None => self.code.to_string(),
        }
    }

    /// The name that the server gave the mail, where it says so in a way that is known.
    pub(crate) fn queue_id(&self) -> Option<&str> {
        let text = self.lines.last()?;
        let after = |mark: &str| text.find(mark).map(|at| &text[at + mark.len()..]);
        let rest = after("queued as ").or_else(|| after("id="))?;
        let is_id = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let length = rest.bytes().take_while(|byte| is_id(byte)).count();
        (1..=64).contains(&length).then(|| &rest[..length])
    }
}

impl Wire {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, unread: Vec::new() }
    }

    /// The stream for a TLS session on top. An error where the server said more than it was asked:
    /// that would be taken for an answer under TLS.
    pub(crate) fn into_stream(self) -> Result<Box<dyn Stream>, Silence> {
        if self.unread.is_empty() { Ok(self.stream) } else { Err(Silence::Garbled) }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Silence> {
        self.write_counting(bytes, limit, &mut 0).await
    }

    /// `taken` grows by what the stream took, also when the write fails: bytes beyond it were
    /// surely never seen by the server.
    pub(crate) async fn write_counting(
        &mut self,
        bytes: &[u8],
        limit: Duration,
        taken: &mut usize,
    ) -> Result<(), Silence> {
        let write = async {
            let mut rest = bytes;
            while !rest.is_empty() {
                let count = self.stream.write(rest).await?;
                if count == 0 {
                    return Err(Silence::Lost);
                }
                *taken += count;
                rest = &rest[count..];
            }
            Ok(self.stream.flush().await?)
        };
        timeout(limit, write).await.unwrap_or(Err(Silence::Timeout))
    }

    pub(crate) async fn reply(&mut self, limit: Duration) -> Result<Reply, Silence> {
        timeout(limit, self.whole_reply()).await.unwrap_or(Err(Silence::Timeout))
    }

    async fn whole_reply(&mut self) -> Result<Reply, Silence> {
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let line = self.line().await?;
            length += line.len();
            let (code, is_last, text) = read_line(&line).ok_or(Silence::Garbled)?;
            if length > LONGEST_REPLY {
                return Err(Silence::Garbled);
            }
            lines.push(text.to_owned());
            if is_last {
                let enhanced = lines.last().and_then(|text| enhanced(code, text));
                return Ok(Reply { code, enhanced, lines });
            }
        }
    }

    async fn line(&mut self) -> Result<String, Silence> {
        let mut searched = 0;
        loop {
            let found = self.unread[searched..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let line: Vec<u8> = self.unread.drain(..=searched + at).collect();
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            searched = self.unread.len();
            if searched > LONGEST_REPLY {
                return Err(Silence::Garbled);
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err(Silence::Lost);
            }
        }
    }

    /// Whether the connection lies still: neither ended nor holding an answer to nothing.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        let mut space = [0; 1];
        let heard = poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut space);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            Poll::Ready(read.is_ready())
        });
        !heard.await
    }

    pub(crate) async fn shut(&mut self, limit: Duration) {
        let _ = timeout(limit, self.stream.shutdown()).await;
    }
}

/// A line's code, whether it is the last, and its text.
fn read_line(line: &str) -> Option<(u16, bool, &str)> {
    let (code, rest) = line.split_at_checked(3)?;
    if !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let code: u16 = code.parse().ok().filter(|code| (200..600).contains(code))?;
    match rest.as_bytes().first() {
        None => Some((code, true, "")),
        Some(b' ') => Some((code, true, &rest[1..])),
        Some(b'-') => Some((code, false, &rest[1..])),
        Some(_) => None,
    }
}

fn enhanced(code: u16, text: &str) -> Option<String> {
    let word = text.split(' ').next()?;
    let parts: Vec<&str> = word.split('.').collect();
    let is_number =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let fits = parts.len() == 3
        && parts.iter().all(|part| is_number(part))
        && parts[0] == (code / 100).to_string();
    fits.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn read(bytes: &[u8]) -> Result<Reply, Silence> {
        let (ours, mut theirs) = tokio::io::duplex(1024 * 1024);
        theirs.write_all(bytes).await.expect("written");
        drop(theirs);
        Wire::new(Box::new(ours)).reply(LIMIT).await
    }

    #[tokio::test]
    async fn replies_are_read_with_their_codes() {
        let reply = read(b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n").await.expect("read");
        assert_eq!((reply.code, reply.lines.len()), (250, 3));
        assert_eq!(reply.codes(), "250");
        let reply = read(b"550 5.1.1 <ann@example.com>: unknown\r\n").await.expect("read");
        assert_eq!(reply.codes(), "550 5.1.1");
        assert!(reply.is_permanent());
        assert_eq!(read(b"550 4.1.1 x\r\n").await.expect("read").codes(), "550");
        assert_eq!(read(b"354\r\n").await.expect("read").code, 354);
    }

    #[tokio::test]
    async fn what_is_no_reply_is_told_apart() {
        for garbled in ["HTTP/1.1 400 Bad Request\r\n", "25\r\n", "999 x\r\n", "250+x\r\n"] {
            assert_eq!(read(garbled.as_bytes()).await, Err(Silence::Garbled), "{garbled}");
        }
        assert_eq!(read(b"250-half\r\n25").await, Err(Silence::Lost));
        assert_eq!(read(&vec![b'2'; 100_000]).await, Err(Silence::Garbled));
        let endless = "250-x\r\n".repeat(30_000);
        assert_eq!(read(endless.as_bytes()).await, Err(Silence::Garbled));
    }

    #[tokio::test]
    async fn queue_ids_are_taken_from_known_words_only() {
        let id = |text: &str| {
            let reply = Reply { code: 250, enhanced: None, lines: vec![text.to_owned()] };
            reply.queue_id().map(str::to_owned)
        };
        assert_eq!(id("2.0.0 Ok: queued as 4bXy7Z2").as_deref(), Some("4bXy7Z2"));
        assert_eq!(id("OK id=1rX-0004-Ab").as_deref(), Some("1rX-0004-Ab"));
        assert_eq!(id("2.0.0 thanks, ann@example.com"), None);
        assert_eq!(id("queued as "), None);
    }

    #[tokio::test]
    async fn an_ended_or_talking_connection_is_not_quiet() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut wire = Wire::new(Box::new(ours));
        assert!(wire.is_quiet().await);
        theirs.write_all(b"421 idle\r\n").await.expect("written");
        assert!(!wire.is_quiet().await);
        let (ours, theirs) = tokio::io::duplex(64);
        drop(theirs);
        assert!(!Wire::new(Box::new(ours)).is_quiet().await);
    }

    #[tokio::test]
    async fn bytes_that_were_not_taken_are_not_counted() {
        let (ours, theirs) = tokio::io::duplex(10);
        let mut wire = Wire::new(Box::new(ours));
        let mut taken = 0;
        let write = wire.write_counting(&[0; 25], Duration::from_millis(20), &mut taken).await;
        assert_eq!((write, taken), (Err(Silence::Timeout), 10));
        drop(theirs);
        let write = wire.write_counting(&[0; 25], LIMIT, &mut taken).await;
        assert_eq!((write, taken), (Err(Silence::Lost), 10));
    }

    proptest! {
        #[test]
        fn no_line_breaks_the_reader(line in any::<String>()) {
            if let Some((code, _, text)) = read_line(&line) {
                prop_assert!((200..600).contains(&code));
                let _ = enhanced(code, text);
                let reply = Reply { code, enhanced: None, lines: vec![text.to_owned()] };
                let _ = reply.queue_id();
            }
        }
    }
}
