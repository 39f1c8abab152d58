//! A connection that may send, one mail after another.

use std::time::{Duration, Instant};

use carillon_dispatch::{Clearance, InSeries};

use super::{
    dial::{Limits, expect},
    trouble::{Phase, Trouble, What},
    wire::{Reply, Silence, Wire},
};

/// A mail up to this size is written with its final dot at once: an idle connection's send buffer
/// takes it without waiting, so the clearance asked just before is still the newest.
const AT_ONCE: usize = 8 * 1024;
const END: &[u8] = b".\r\n";
/// To say goodbye.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the server offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub pipelining: bool,
    pub smtputf8: bool,
    pub starttls: bool,
    pub auth_plain: bool,
    pub auth_login: bool,
}

impl Extensions {
    /// Of EHLO's lines, the first of which names the server.
    pub(crate) fn of(lines: &[String]) -> Self {
        let mut offered = Self::default();
        for line in lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            // Some old servers write AUTH=LOGIN.
            let mut words = line.split([' ', '=']);
            match words.next() {
                Some("PIPELINING") => offered.pipelining = true,
                Some("SMTPUTF8") => offered.smtputf8 = true,
                Some("STARTTLS") => offered.starttls = true,
                Some("AUTH") => {
                    for mechanism in words {
                        offered.auth_plain |= mechanism == "PLAIN";
                        offered.auth_login |= mechanism == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        offered
    }
}

/// Addresses as `message::header::address` gives them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envelope<'a> {
    pub from: &'a str,
    pub to: &'a str,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Trouble(Trouble),
    /// The clearance was gone, or a stop came, before the final dot: the server has no whole mail.
    Withdrawn,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

pub(crate) struct Connection {
    wire: Wire,
    extensions: Extensions,
    limits: Limits,
    /// Mails accepted.
    pub sent: u32,
    /// The series of the account's throttle that its mails were of.
    series: Option<i64>,
    pub idle_since: Instant,
    /// Between two mails, with nothing gone wrong. Anything else is never used again.
    usable: bool,
    out: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(wire: Wire, extensions: Extensions, limits: Limits) -> Self {
        let idle_since = Instant::now();
        let (sent, series, out) = (0, None, Vec::new());
        Self { wire, extensions, limits, sent, series, idle_since, usable: true, out }
    }

    /// Whether a mail of this place in a series may go by it: one that has none of another series.
    pub(crate) fn may_serve(&self, place: Option<InSeries>) -> bool {
        self.series.is_none() || self.series == place.map(|place| place.number)
    }

    /// Whether it has served the last mail of its series.
    pub(crate) fn is_over(&self, place: Option<InSeries>) -> bool {
        self.series.is_some() && place.is_some_and(|place| place.left == 0)
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.usable
    }

    /// Whether it can take another mail: the server has neither closed it nor said anything.
    pub(crate) async fn is_fit(&mut self) -> bool {
        self.usable && self.wire.is_quiet().await
    }

    /// One mail. What comes before the final dot may be done again, what comes after it never.
    pub(crate) async fn deliver(
        &mut self,
        envelope: Envelope<'_>,
        source: &[u8],
        clearance: &Clearance,
    ) -> Result<Reply, Failure> {
        self.series = clearance.series().map(|place| place.number);
        tokio::select! {
            biased;
            begun = self.begin(envelope) => begun?,
            () = clearance.broken_off(|| false) => return Err(Failure::Withdrawn),
        }
        self.stuff(source);
        let reply = self.write_mail(clearance).await?;
        let reply = expect(Phase::Dot, Ok(reply), Reply::is_positive)?;
        self.sent += 1;
        self.usable = true;
        Ok(reply)
    }

    /// MAIL, RCPT and DATA, in one write where the server allows it (RFC 2920).
    async fn begin(&mut self, envelope: Envelope<'_>) -> Result<(), Trouble> {
        let [mail, rcpt] = self.commands(envelope)?;
        self.usable = false;
        let is_data = |reply: &Reply| reply.code == 354;
        if !self.extensions.pipelining {
            self.ask(Phase::Sender, &mail).await?;
            if let Err(trouble) = self.ask(Phase::Recipient, &rcpt).await {
                self.clear_up(&trouble).await;
                return Err(trouble);
            }
            let reply = self.exchange("DATA\r\n").await;
            return expect(Phase::Data, reply, is_data).map(drop);
        }
        let all = format!("{mail}{rcpt}DATA\r\n");
        let written = self.wire.write(all.as_bytes(), self.limits.command).await;
        written.map_err(Trouble::silence(Phase::Sender))?;
        let sender = self.wire.reply(self.limits.command).await;
        expect(Phase::Sender, sender, Reply::is_positive)?;
        let recipient = self.wire.reply(self.limits.command).await;
        if let Err(trouble) = expect(Phase::Recipient, recipient, Reply::is_positive) {
            if matches!(trouble.what, What::Refused(_)) {
                // A server that wants a mail for nobody is left with half a mail, and closed.
                let data = self.wire.reply(self.limits.command).await;
                if data.is_ok_and(|reply| reply.is_permanent()) {
                    self.clear_up(&trouble).await;
                }
            }
            return Err(trouble);
        }
        let data = self.wire.reply(self.limits.command).await;
        expect(Phase::Data, data, is_data).map(drop)
    }

    fn commands(&self, Envelope { from, to }: Envelope<'_>) -> Result<[String; 2], Trouble> {
        let parameters = match from.is_ascii() && to.is_ascii() {
            true => "",
            false if self.extensions.smtputf8 => " BODY=8BITMIME SMTPUTF8",
            false => return Err(Trouble::new(Phase::Recipient, What::Utf8Unsupported)),
        };
        Ok([format!("MAIL FROM:<{from}>{parameters}\r\n"), format!("RCPT TO:<{to}>\r\n")])
    }

    /// A refused address is the address's fault: the connection goes on with the next mail, unless
    /// the server is about to close it or does not take the reset.
    async fn clear_up(&mut self, trouble: &Trouble) {
        let What::Refused(reply) = &trouble.what else { return };
        if reply.code != 421 {
            self.usable = self.exchange("RSET\r\n").await.is_ok_and(|reply| reply.is_positive());
        }
    }

    /// The mail as it goes over the wire, with its end.
    fn stuff(&mut self, source: &[u8]) {
        self.out.clear();
        self.out.reserve(source.len() + 64);
        let mut rest = source;
        if rest.first() == Some(&b'.') {
            self.out.push(b'.');
        }
        while let Some(at) = rest.windows(2).position(|pair| pair == b"\n.") {
            self.out.extend_from_slice(&rest[..=at]);
            self.out.push(b'.');
            rest = &rest[at + 1..];
        }
        self.out.extend_from_slice(rest);
        if !self.out.ends_with(b"\r\n") {
            self.out.extend_from_slice(b"\r\n");
        }
        self.out.extend_from_slice(END);
    }

    async fn write_mail(&mut self, clearance: &Clearance) -> Result<Reply, Failure> {
        let Self { wire, out, limits, .. } = self;
        let mut taken = 0;
        let whole = out.len();
        let first = if whole <= AT_ONCE { 0 } else { whole - END.len() };
        let in_body = Trouble::silence(Phase::Body);
        if first > 0 {
            tokio::select! {
                biased;
                written = wire.write_counting(&out[..first], limits.data, &mut taken) => {
                    written.map_err(&in_body)?;
                }
                () = clearance.broken_off(|| false) => return Err(Failure::Withdrawn),
            }
        }
        if !clearance.holds() {
            return Err(Failure::Withdrawn);
        }
        let written = tokio::select! {
            biased;
            written = wire.write_counting(&out[first..], limits.data, &mut taken) => written,
            // The dot has not left, or what has is only to be flushed.
            () = clearance.broken_off(|| false) => Ok(()),
        };
        match written {
            Ok(()) if taken < whole => return Err(Failure::Withdrawn),
            Ok(()) => {}
            Err(silence) => {
                let phase = if taken < whole { Phase::Body } else { Phase::Dot };
                return Err(Trouble::new(phase, silence.into()).into());
            }
        }
        let answer = async {
            wire.write(&[], limits.data).await?;
            wire.reply(limits.data).await
        };
        let reply = tokio::select! {
            biased;
            reply = answer => reply,
            () = clearance.broken_off(|| true) => Err(Silence::Timeout),
        };
        Ok(reply.map_err(Trouble::silence(Phase::Dot))?)
    }

    /// Whether the server would take a mail from this sender, to this recipient; sends none.
    pub(crate) async fn probe(&mut self, from: &str, to: Option<&str>) -> Result<(), Trouble> {
        let [mail, rcpt] = self.commands(Envelope { from, to: to.unwrap_or(from) })?;
        self.ask(Phase::Sender, &mail).await?;
        if to.is_some() {
            self.ask(Phase::Recipient, &rcpt).await?;
        }
        self.ask(Phase::Sender, "RSET\r\n").await.map(drop)
    }

    async fn ask(&mut self, phase: Phase, line: &str) -> Result<Reply, Trouble> {
        expect(phase, self.exchange(line).await, Reply::is_positive)
    }

    async fn exchange(&mut self, line: &str) -> Result<Reply, Silence> {
        self.wire.write(line.as_bytes(), self.limits.command).await?;
        self.wire.reply(self.limits.command).await
    }

    /// Says goodbye, and does not wait long for the answer.
    pub(crate) async fn close(mut self) {
        if self.usable && self.wire.write(b"QUIT\r\n", FAREWELL).await.is_ok() {
            let _ = self.wire.reply(FAREWELL).await;
        }
        self.wire.shut(FAREWELL).await;
    }
}
