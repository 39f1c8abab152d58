//! `carillon org smtp`: the organisation's own SMTP server.

use std::path::PathBuf;

use carillon_contracts::{
    campaign::v1::{
        SetSmtpServerRequest, SmtpServer, SmtpThrottle, SmtpTls, TestSmtpServerRequest,
    },
    time,
};
use clap::{Args, Subcommand, ValueEnum};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{print_changed, secret};
use crate::{
    context::Context,
    error::Error,
    output::{Format, printable, write_record},
};

#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub struct SmtpArgs {
    #[command(subcommand)]
    pub command: Option<SmtpCommand>,
    /// The server's name or address
    #[arg(long, value_name = "H", required = true)]
    pub host: Option<String>,
    /// 1 to 65535 [default: 25, or 465 for implicit TLS]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u32).range(1..=65535))]
    pub port: Option<u32>,
    /// How the connection is secured [default: starttls, or implicit on port 465]
    #[arg(long, value_name = "TLS")]
    pub tls: Option<TlsArg>,
    /// The login; without it nobody authenticates
    #[arg(long, value_name = "U")]
    pub user: Option<String>,
    /// A file that holds the password
    #[arg(long, value_name = "F", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// The sender's address
    #[arg(long, value_name = "A", required = true)]
    pub from: Option<String>,
    /// The sender's name; the organisation's own without it
    #[arg(long, value_name = "N")]
    pub from_name: Option<String>,
    /// Where replies go; to the sender without it
    #[arg(long, value_name = "A")]
    pub reply_to: Option<String>,
    /// After so many mails, disconnect and pause
    #[arg(long, value_name = "X", requires = "throttle_pause")]
    pub throttle_mails: Option<u32>,
    /// How long the pause is, such as 2s
    #[arg(long, value_name = "Y", requires = "throttle_mails", value_parser = wait)]
    pub throttle_pause: Option<SignedDuration>,
    /// Wait so long between two mails, such as 0.1s; it is kept with a tenth of it to spare, 0.1s at least
    #[arg(long, value_name = "Z", value_parser = wait)]
    pub throttle_gap: Option<SignedDuration>,
    /// Connections of one process at a time, 1 to 64 [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub connections: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum SmtpCommand {
    /// Connect, authenticate, name the sender, and say what is wrong; sends nothing
    #[command(
        after_help = "Exit code 1 where something is wrong.\n\nExample:\n  carillon org smtp test --to zoe@cafe.example"
    )]
    Test(TestArgs),
}

#[derive(Debug, Args)]
pub struct TestArgs {
    /// A recipient that the server is asked for too; nothing is sent to it
    #[arg(long, value_name = "A")]
    pub to: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsArg {
    /// In clear, the password included
    None,
    /// Begun in clear and secured before anything is said (RFC 3207)
    Starttls,
    /// From the first byte (RFC 8314)
    Implicit,
}

impl From<TlsArg> for SmtpTls {
    fn from(tls: TlsArg) -> Self {
        match tls {
            TlsArg::None => Self::None,
            TlsArg::Starttls => Self::Starttls,
            TlsArg::Implicit => Self::Implicit,
        }
    }
}

/// `2s`, `1m30s`, `100ms`, or seconds as a number: `0.1`.
fn wait(text: &str) -> Result<SignedDuration, String> {
    let number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let spelled = if number { format!("{text}s") } else { text.to_owned() };
    let parsed: Option<SignedDuration> = spelled.parse().ok();
    parsed
        .filter(|wait| !wait.is_negative())
        .ok_or_else(|| format!("'{text}' is not a duration; write 2s, 0.1s or 1m"))
}

pub(super) async fn run(args: SmtpArgs, context: &mut Context) -> Result<(), Error> {
    match args.command {
        Some(SmtpCommand::Test(args)) => test(args, context).await,
        None => set(args, context).await,
    }
}

async fn set(args: SmtpArgs, context: &mut Context) -> Result<(), Error> {
    let password = args.password_file.as_deref();
    let password = password.map(|path| secret::read("password-file", path)).transpose()?;
    let request = SetSmtpServerRequest { smtp: Some(server(args)), password };
    let client = context.client().await?;
    let answer = client.organisations().set_smtp_server(request).await?.into_inner();
    print_changed(&answer, context)?;
    if context.look.format == Format::Table {
        note!("try it with `carillon org smtp test`");
    }
    Ok(())
}

fn server(args: SmtpArgs) -> SmtpServer {
    let throttled = args.throttle_mails.is_some() || args.throttle_gap.is_some();
    let throttle = throttled.then(|| SmtpThrottle {
        mails: args.throttle_mails.unwrap_or_default(),
        pause: args.throttle_pause.map(time::duration_to_wire),
        gap: args.throttle_gap.map(time::duration_to_wire),
    });
    SmtpServer {
        host: args.host.unwrap_or_default(),
        port: args.port.unwrap_or_default(),
        tls: args.tls.map_or(SmtpTls::Unspecified, Into::into).into(),
        user: args.user.unwrap_or_default(),
        from: args.from.unwrap_or_default(),
        from_name: args.from_name.unwrap_or_default(),
        reply_to: args.reply_to.unwrap_or_default(),
        throttle,
        connections: args.connections.unwrap_or_default(),
    }
}

async fn test(args: TestArgs, context: &mut Context) -> Result<(), Error> {
    let request = TestSmtpServerRequest { to: args.to.unwrap_or_default() };
    let client = context.client().await?;
    let answer = client.organisations().test_smtp_server(request).await?.into_inner();
    if answer.ok || context.look.format != Format::Table {
        let fields = [
            ("ok", json!(answer.ok)),
            ("code", json!(answer.code)),
            ("message", json!(answer.message)),
        ];
        write_record(&mut context.out, context.look, &fields)?;
    }
    if answer.ok {
        return Ok(());
    }
    Err(Error::failed(format!("{}: {}", printable(&answer.code), answer.message)))
}

/// Everything but the password, which nobody is told. For people a port is a name, not a number to
/// be read by its thousands.
pub(super) fn shown(smtp: &SmtpServer, format: Format) -> Value {
    let tls = match smtp.tls() {
        SmtpTls::Unspecified => "",
        SmtpTls::None => "none",
        SmtpTls::Starttls => "starttls",
        SmtpTls::Implicit => "implicit",
    };
    let wait = |wait: &Option<prost_types::Duration>| {
        let wait = wait.as_ref().map(time::duration_from_wire).unwrap_or_default();
        json!(format!("{wait:#}"))
    };
    let throttle = smtp.throttle.as_ref().map_or(Value::Null, |throttle| {
        json!({
            "mails": throttle.mails,
            "pause": wait(&throttle.pause),
            "gap": wait(&throttle.gap),
        })
    });
    let port = match format {
        Format::Table => json!(smtp.port.to_string()),
        Format::Json | Format::Csv => json!(smtp.port),
    };
    json!({
        "host": smtp.host,
        "port": port,
        "tls": tls,
        "user": smtp.user,
        "from": smtp.from,
        "from_name": smtp.from_name,
        "reply_to": smtp.reply_to,
        "throttle": throttle,
        "connections": smtp.connections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::cell;

    #[test]
    fn waits_are_durations_or_seconds() {
        for (text, ms) in [
            ("2s", 2_000),
            ("0.1s", 100),
            ("0.1", 100),
            ("5", 5_000),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("0", 0),
        ] {
            assert_eq!(wait(text), Ok(SignedDuration::from_millis(ms)), "{text}");
        }
        for text in ["", "-1s", "soon", "1.2.3", "2 parsecs"] {
            assert!(wait(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_holds_what_was_set() {
        let throttle = SmtpThrottle {
            mails: 5,
            pause: Some(time::duration_to_wire(SignedDuration::from_secs(2))),
            gap: Some(time::duration_to_wire(SignedDuration::from_millis(100))),
        };
        let smtp = SmtpServer {
            host: "h".into(),
            port: 42_025,
            tls: SmtpTls::None.into(),
            throttle: Some(throttle),
            ..SmtpServer::default()
        };
        let for_people = cell::text(&shown(&smtp, Format::Table));
        assert!(for_people.contains("port: 42025"), "{for_people}");
        let shown = shown(&smtp, Format::Json);
        assert_eq!(shown["port"], json!(42_025));
        assert_eq!((&shown["host"], &shown["tls"]), (&json!("h"), &json!("none")));
        assert_eq!(shown["throttle"], json!({ "mails": 5, "pause": "2s", "gap": "100ms" }));
    }
}
