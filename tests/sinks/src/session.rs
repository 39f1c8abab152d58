//! One connection to the SMTP server.

use std::{
    io,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::smtp::{Mail, Stage, State, Tls, What};

const TAKEN: &str = "250 2.0.0 Ok: queued as 4bXy7Z";

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// The connection is over, in order or not.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

struct Session<'a> {
    wire: Box<dyn Wire>,
    state: &'a State,
    number: usize,
    unread: Vec<u8>,
    secure: bool,
    authenticated: bool,
    /// Something went wrong that ends the connection.
    spoiled: bool,
    /// A recipient was refused, and the transaction not reset since.
    unreset: bool,
    /// The last mail.
    begun: Option<Instant>,
    from: Option<String>,
    to: String,
}

pub(crate) async fn run(stream: TcpStream, number: usize, state: &State) -> io::Result<()> {
    let (wire, secure): (Box<dyn Wire>, bool) = match &state.behaviour.tls {
        Tls::Implicit(identity) => (Box::new(identity.acceptor.accept(stream).await?), true),
        _ => (Box::new(stream), false),
    };
    let mut session = Session {
        wire,
        state,
        number,
        unread: Vec::new(),
        secure,
        authenticated: false,
        spoiled: false,
        unreset: false,
        begun: None,
        from: None,
        to: String::new(),
    };
    let _ = session.converse().await;
    session.wire.shutdown().await
}

impl Session<'_> {
    async fn converse(&mut self) -> Result<(), Over> {
        if !self.state.behaviour.greeting.is_zero() {
            tokio::time::sleep(self.state.behaviour.greeting).await;
        }
        self.reply(Stage::Connect, "220 sink ESMTP").await?;
        loop {
            let line = self.line().await?;
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let verb = verb.to_ascii_uppercase();
            self.state.seen().verbs.push(verb.clone());
            match verb.as_str() {
                "EHLO" => self.reply(Stage::Ehlo, &self.extensions()).await.map(drop)?,
                "HELO" | "NOOP" => self.write("250 2.0.0 Ok").await?,
                "STARTTLS" => self.starttls().await?,
                "AUTH" => self.auth(rest).await?,
                "MAIL" => self.mail(rest).await?,
                "RCPT" => self.rcpt(rest).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.unreset = false;
                    self.from = None;
                    self.to.clear();
                    self.write("250 2.0.0 Ok").await?;
                }
                "QUIT" => {
                    self.write("221 2.0.0 Bye").await?;
                    return Ok(());
                }
                _ => self.write("500 5.5.2 what?").await?,
            }
        }
    }

    fn extensions(&self) -> String {
        let behaviour = &self.state.behaviour;
        let mut lines = vec!["sink".to_owned(), "8BITMIME".into(), "ENHANCEDSTATUSCODES".into()];
        if behaviour.pipelining {
            lines.push("PIPELINING".into());
        }
        if behaviour.smtputf8 {
            lines.push("SMTPUTF8".into());
        }
        if matches!(behaviour.tls, Tls::Starttls(_)) && !self.secure {
            lines.push("STARTTLS".into());
        }
        if behaviour.credentials.is_some() {
            lines.push(format!("AUTH {}", behaviour.mechanisms.join(" ")));
        }
        let last = lines.len() - 1;
        let separator = |index| if index == last { ' ' } else { '-' };
        let lines = lines.iter().enumerate();
        let lines: Vec<_> =
            lines.map(|(index, line)| format!("250{}{line}", separator(index))).collect();
        lines.join("\r\n")
    }

    async fn starttls(&mut self) -> Result<(), Over> {
        let Tls::Starttls(identity) = &self.state.behaviour.tls else {
            return self.write("502 5.5.1 not offered").await;
        };
        if !self.reply(Stage::Starttls, "220 2.0.0 go ahead").await? {
            return Ok(());
        }
        let plain = std::mem::replace(&mut self.wire, Box::new(tokio::io::empty()));
        self.wire = Box::new(identity.acceptor.accept(plain).await?);
        (self.secure, self.authenticated) = (true, false);
        self.unread.clear();
        Ok(())
    }

    async fn auth(&mut self, rest: &str) -> Result<(), Over> {
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let offered = self.state.behaviour.mechanisms.iter();
        if !offered.clone().any(|known| known.eq_ignore_ascii_case(mechanism)) {
            return self.write("504 5.5.4 unknown mechanism").await;
        }
        let (user, password) = if mechanism.eq_ignore_ascii_case("PLAIN") {
            let plain = decoded(initial);
            let mut parts = plain.split('\0').skip(1).map(str::to_owned);
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        } else {
            self.write("334 VXNlcm5hbWU6").await?;
            let user = decoded(&self.line().await?);
            self.write("334 UGFzc3dvcmQ6").await?;
            (user, decoded(&self.line().await?))
        };
        let right = self.state.behaviour.credentials == Some((user, password));
        let answer = if right { "235 2.7.0 welcome" } else { "535 5.7.8 wrong" };
        self.authenticated = self.reply(Stage::Auth, answer).await? && right;
        Ok(())
    }

    async fn mail(&mut self, rest: &str) -> Result<(), Over> {
        if self.unread.windows(6).any(|bytes| bytes == b"DATA\r\n") {
            self.state.seen().pipelined += 1;
        }
        let now = Instant::now();
        self.begun = Some(now);
        {
            let mut seen = self.state.seen();
            seen.begun.push(now);
            seen.reused += usize::from(self.spoiled || self.unreset);
        }
        if self.from.is_some() {
            return self.write("503 5.5.1 nested MAIL").await;
        }
        if self.state.behaviour.credentials.is_some() && !self.authenticated {
            return self.write("530 5.7.0 authenticate first").await;
        }
        if self.reply(Stage::Mail, "250 2.1.0 Ok").await? {
            self.from = Some(rest.get(5..).unwrap_or_default().to_owned());
        }
        Ok(())
    }

    async fn rcpt(&mut self, rest: &str) -> Result<(), Over> {
        if self.from.is_none() {
            return self.write("503 5.5.1 MAIL first").await;
        }
        let to = rest.get(3..).unwrap_or_default().trim_matches(['<', '>']).to_owned();
        if self.reply_about(Stage::Rcpt, "250 2.1.5 Ok", &to).await? {
            self.to = to;
        }
        Ok(())
    }

    async fn data(&mut self) -> Result<(), Over> {
        if self.to.is_empty() {
            return self.write("503 5.5.1 RCPT first").await;
        }
        if !self.reply(Stage::Data, "354 go on").await? {
            return Ok(());
        }
        if self.unread.is_empty() {
            self.fill().await?;
        }
        if let Some(what) = self.state.fault(Stage::Body, &self.to) {
            return self.misbehave(Stage::Body, what).await;
        }
        let source = self.body().await?;
        self.state.seen().dots += 1;
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        let latency = self.state.latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        match self.state.fault(Stage::Dot, &to) {
            Some(What::AcceptAndDrop) => {
                self.accept(from, to, source);
                Err(Over)
            }
            Some(What::Slowly(pause)) => {
                self.accept(from, to, source);
                self.write_slowly(TAKEN, pause).await
            }
            Some(what) => self.misbehave(Stage::Dot, what).await,
            None => {
                self.accept(from, to, source);
                self.write(TAKEN).await
            }
        }
    }

    fn accept(&self, from: String, to: String, source: Vec<u8>) {
        let id = message_id(&source);
        let mut seen = self.state.seen();
        let accepted = seen.accepted.entry(id).or_default();
        accepted.times += 1;
        accepted.begun = self.begun;
        seen.last_accepted = Some(Instant::now());
        if self.state.behaviour.keep {
            seen.mails.push(Mail { connection: self.number, from, to, source });
        }
    }

    /// Everything up to the final dot, which may have come together with what follows it.
    async fn body(&mut self) -> Result<Vec<u8>, Over> {
        let mut searched: usize = 0;
        loop {
            if self.unread.starts_with(b".\r\n") {
                self.unread.drain(..3);
                return Ok(Vec::new());
            }
            let from = searched.saturating_sub(4);
            let found = self.unread[from..].windows(5).position(|bytes| bytes == b"\r\n.\r\n");
            if let Some(at) = found.map(|at| at + from) {
                let rest = self.unread.split_off(at + 5);
                let mut stuffed = std::mem::replace(&mut self.unread, rest);
                stuffed.truncate(at + 2);
                return Ok(unstuffed(&stuffed));
            }
            searched = self.unread.len();
            self.fill().await?;
        }
    }

    async fn line(&mut self) -> Result<String, Over> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|bytes| bytes == b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 2);
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Over> {
        self.unread.reserve(16 * 1024);
        let count = self.wire.read_buf(&mut self.unread).await?;
        if count == 0 { Err(Over) } else { Ok(()) }
    }

    /// Whether the server answered as it should.
    async fn reply(&mut self, at: Stage, line: &str) -> Result<bool, Over> {
        let to = self.to.clone();
        self.reply_about(at, line, &to).await
    }

    async fn reply_about(&mut self, at: Stage, line: &str, to: &str) -> Result<bool, Over> {
        match self.state.fault(at, to) {
            None => self.write(line).await.map(|()| true),
            Some(What::Slowly(pause)) => self.write_slowly(line, pause).await.map(|()| true),
            Some(what) => self.misbehave(at, what).await.map(|()| false),
        }
    }

    async fn misbehave(&mut self, at: Stage, what: What) -> Result<(), Over> {
        match at {
            Stage::Rcpt => self.unreset = true,
            _ => self.spoiled = true,
        }
        match what {
            What::Answer(line) => {
                self.write(&line).await?;
                if line.starts_with("421") { Err(Over) } else { Ok(()) }
            }
            What::Drop | What::AcceptAndDrop => Err(Over),
            What::Stall => std::future::pending().await,
            What::Slowly(_) => Ok(()),
        }
    }

    async fn write_slowly(&mut self, line: &str, pause: Duration) -> Result<(), Over> {
        self.spoiled = true;
        for byte in format!("{line}\r\n").bytes() {
            tokio::time::sleep(pause).await;
            self.wire.write_all(&[byte]).await?;
            self.wire.flush().await?;
        }
        Ok(())
    }

    async fn write(&mut self, line: &str) -> Result<(), Over> {
        self.wire.write_all(format!("{line}\r\n").as_bytes()).await?;
        Ok(self.wire.flush().await?)
    }
}

fn decoded(text: &str) -> String {
    STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

fn unstuffed(stuffed: &[u8]) -> Vec<u8> {
    let mut source = Vec::with_capacity(stuffed.len());
    let mut at_start = true;
    for &byte in stuffed {
        if !(at_start && byte == b'.') {
            source.push(byte);
        }
        at_start = byte == b'\n';
    }
    source
}

/// The id between the angle brackets of the Message-ID header.
fn message_id(source: &[u8]) -> String {
    let head = source.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(source.len());
    let head = String::from_utf8_lossy(&source[..head]);
    let mut ids = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("message-id").then(|| value.trim().trim_matches(['<', '>']))
    });
    ids.next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dot_is_taken_from_each_line_that_begins_with_one() {
        assert_eq!(unstuffed(b"..a\r\n.b.\r\n...\r\n"), b".a\r\nb.\r\n..\r\n");
    }

    #[test]
    fn the_message_id_is_read_from_the_head_only() {
        assert_eq!(message_id(b"To: a\r\nMessage-Id: <1.x@y>\r\n\r\nMessage-ID: <2>"), "1.x@y");
        assert_eq!(message_id(b"To: a\r\n\r\nMessage-ID: <2>"), "");
    }
}
