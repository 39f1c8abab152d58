//! From a server's settings to a connection that may send.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use carillon_contracts::campaign::v1::{SmtpServer, SmtpTls};
use carillon_service_kit::egress::{Egress, EgressError};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::{
    connection::{Connection, Extensions},
    tls,
    trouble::{Phase, Trouble, What},
    wire::{Reply, Silence, Stream, Wire},
};

const IMPLICIT_PORT: u16 = 465;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    None,
    Starttls,
    Implicit,
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub user: String,
    pub password: String,
}

/// A server as an organisation set it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub login: Option<Login>,
}

impl Target {
    pub(crate) fn of(smtp: &SmtpServer, password: Option<Vec<u8>>) -> Self {
        let port = match (smtp.port, smtp.tls()) {
            (0, SmtpTls::Implicit) => IMPLICIT_PORT,
            (0, _) => 25,
            // A port beyond 65535 was never accepted; 0 is refused by every system.
            (port, _) => u16::try_from(port).unwrap_or_default(),
        };
        let security = match smtp.tls() {
            SmtpTls::None => Security::None,
            SmtpTls::Starttls => Security::Starttls,
            SmtpTls::Implicit => Security::Implicit,
            SmtpTls::Unspecified if port == IMPLICIT_PORT => Security::Implicit,
            SmtpTls::Unspecified => Security::Starttls,
        };
        let password = String::from_utf8_lossy(&password.unwrap_or_default()).into_owned();
        let login = (!smtp.user.is_empty()).then(|| Login { user: smtp.user.clone(), password });
        Self { host: smtp.host.clone(), port, security, login }
    }
}

/// How long each step may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub connect: Duration,
    pub command: Duration,
    pub data: Duration,
}

/// What every connection of this process shares.
pub(crate) struct Reach {
    pub egress: Egress,
    pub tls: Arc<ClientConfig>,
    pub limits: Limits,
    /// What EHLO says; the local address where absent.
    pub hello: Option<String>,
}

impl Reach {
    /// Connects, secures and authenticates.
    pub(crate) async fn open(&self, target: &Target) -> Result<Connection, Trouble> {
        let stream = self.connect(target).await?;
        let local = stream.local_addr().map(|address| address.ip());
        let hello = self.hello.clone().unwrap_or_else(|| literal(local.ok()));
        let mut wire = match target.security {
            Security::Implicit => {
                let tls = self.secure(Box::new(stream), target).await?;
                self.greeted(tls).await?
            }
            _ => self.greeted(Box::new(stream)).await?,
        };
        let mut extensions = self.hello(&mut wire, &hello).await?;
        if target.security == Security::Starttls {
            wire = self.starttls(wire, &extensions, target).await?;
            extensions = self.hello(&mut wire, &hello).await?;
        }
        if let Some(login) = &target.login {
            self.authenticate(&mut wire, &extensions, login).await?;
        }
        Ok(Connection::new(wire, extensions, self.limits))
    }

    pub(super) async fn connect(&self, target: &Target) -> Result<TcpStream, Trouble> {
        let at_connect = |what| Trouble::new(Phase::Connect, what);
        let connecting = async {
            let addresses =
                self.egress.resolve(&target.host, target.port).await.map_err(|error| {
                    at_connect(match error {
                        EgressError::NameNotFound { .. } => What::NameNotFound,
                        EgressError::Refused { address, .. } => What::AddressRefused(address),
                    })
                })?;
            first_of(&addresses).await.ok_or_else(|| at_connect(What::ConnectionRefused))
        };
        let stream = timeout(self.limits.connect, connecting)
            .await
            .unwrap_or_else(|_| Err(at_connect(Silence::Timeout.into())))?;
        // Without it a small write after another waits for the first one's acknowledgement, 40 ms.
        stream.set_nodelay(true).map_err(|_| at_connect(Silence::Lost.into()))?;
        Ok(stream)
    }

    async fn greeted(&self, stream: Box<dyn Stream>) -> Result<Wire, Trouble> {
        let mut wire = Wire::new(stream);
        let greeting = wire.reply(self.limits.command).await;
        expect(Phase::Greeting, greeting, Reply::is_positive)?;
        Ok(wire)
    }

    async fn hello(&self, wire: &mut Wire, name: &str) -> Result<Extensions, Trouble> {
        let reply = self.ask(wire, Phase::Hello, &format!("EHLO {name}")).await?;
        Ok(Extensions::of(&reply.lines))
    }

    async fn starttls(
        &self,
        mut wire: Wire,
        extensions: &Extensions,
        target: &Target,
    ) -> Result<Wire, Trouble> {
        if !extensions.starttls {
            return Err(Trouble::new(Phase::Starttls, What::StarttlsMissing));
        }
        self.ask(&mut wire, Phase::Starttls, "STARTTLS").await?;
        let plain = wire.into_stream().map_err(Trouble::silence(Phase::Starttls))?;
        Ok(Wire::new(self.secure(plain, target).await?))
    }

    async fn secure(
        &self,
        plain: Box<dyn Stream>,
        target: &Target,
    ) -> Result<Box<dyn Stream>, Trouble> {
        let in_handshake = |what| Trouble::new(Phase::Handshake, what);
        let host = target.host.trim_matches(['[', ']']).trim_end_matches('.');
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| in_handshake(What::NameNotFound))?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        match timeout(self.limits.command, connector.connect(name, plain)).await {
            Err(_) => Err(in_handshake(Silence::Timeout.into())),
            Ok(Err(error)) => Err(in_handshake(tls::classify(&error))),
            Ok(Ok(stream)) => Ok(Box::new(stream)),
        }
    }

    async fn authenticate(
        &self,
        wire: &mut Wire,
        extensions: &Extensions,
        login: &Login,
    ) -> Result<(), Trouble> {
        let Login { user, password } = login;
        if extensions.auth_plain {
            let plain = STANDARD.encode(format!("\0{user}\0{password}"));
            self.ask(wire, Phase::Auth, &format!("AUTH PLAIN {plain}")).await?;
        } else if extensions.auth_login {
            for line in ["AUTH LOGIN".to_owned(), STANDARD.encode(user)] {
                let asked = self.exchange(wire, &line).await;
                expect(Phase::Auth, asked, |reply| reply.code == 334)?;
            }
            self.ask(wire, Phase::Auth, &STANDARD.encode(password)).await?;
        } else {
            return Err(Trouble::new(Phase::Auth, What::AuthUnsupported));
        }
        Ok(())
    }

    async fn exchange(&self, wire: &mut Wire, line: &str) -> Result<Reply, Silence> {
        wire.write(format!("{line}\r\n").as_bytes(), self.limits.command).await?;
        wire.reply(self.limits.command).await
    }

    async fn ask(&self, wire: &mut Wire, phase: Phase, line: &str) -> Result<Reply, Trouble> {
        expect(phase, self.exchange(wire, line).await, Reply::is_positive)
    }
}

/// A reply of the right kind, or what is wrong with it. Being asked to go on where nothing more is
/// to be said is no SMTP.
pub(super) fn expect(
    phase: Phase,
    reply: Result<Reply, Silence>,
    right: impl Fn(&Reply) -> bool,
) -> Result<Reply, Trouble> {
    let reply = reply.map_err(Trouble::silence(phase))?;
    if right(&reply) {
        Ok(reply)
    } else if reply.code < 400 {
        Err(Trouble::new(phase, Silence::Garbled.into()))
    } else {
        Err(Trouble::new(phase, What::Refused(reply)))
    }
}

async fn first_of(addresses: &[SocketAddr]) -> Option<TcpStream> {
    for address in addresses {
        if let Ok(stream) = TcpStream::connect(address).await {
            return Some(stream);
        }
    }
    None
}

/// An address as EHLO names it (RFC 5321, 4.1.3).
fn literal(local: Option<IpAddr>) -> String {
    match local {
        Some(IpAddr::V4(address)) => format!("[{address}]"),
        Some(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        None => "localhost".into(),
    }
}
