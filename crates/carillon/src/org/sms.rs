//! `carillon org sms`: the organisation's SMS gateway.

use std::{collections::BTreeMap, path::PathBuf};

use carillon_contracts::campaign::v1::{
    HttpGateway, SetSmsGatewayRequest, SmppGateway, SmsGateway, TwilioGateway, sms_gateway::Kind,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{print_changed, secret};
use crate::{context::Context, error::Error};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Keeps every message where a person can look at it, and sends none
    Sandbox,
    /// Twilio's Messages API, or a provider that takes the same
    Twilio,
    /// A provider described by how it is called
    Http,
    /// A provider's SMSC, by SMPP 3.4
    Smpp,
}

impl KindArg {
    const fn name(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Twilio => "twilio",
            Self::Http => "http",
            Self::Smpp => "smpp",
        }
    }
}

#[derive(Debug, Args)]
pub struct SmsArgs {
    /// What kind of gateway it is
    #[arg(long, value_name = "KIND", required_unless_present = "remove")]
    pub kind: Option<KindArg>,
    /// Set the one that messages leave by while the other does not work
    #[arg(long)]
    pub standby: bool,
    /// Have no standby any more
    #[arg(long, requires = "standby", conflicts_with_all = ["kind", "from", "token_file"])]
    pub remove: bool,
    /// The sender: a number such as +15035550100, or 1 to 11 letters and digits
    #[arg(
        long,
        value_name = "N",
        required_if_eq_any = [("kind", "twilio"), ("kind", "http"), ("kind", "smpp")]
    )]
    pub from: Option<String>,
    /// Messages a second over all processes; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rate: u32,
    /// A file that holds the token, or the password (smpp: 8 characters at most)
    #[arg(long, value_name = "F")]
    pub token_file: Option<PathBuf>,
    /// The provider's address; smpp: smpp://HOST:PORT, or smpps:// for TLS [default, twilio:
    /// https://api.twilio.com]
    #[arg(
        long,
        value_name = "U",
        required_if_eq("kind", "smpp"),
        help_heading = "Options of --kind twilio and smpp"
    )]
    pub base_url: Option<String>,
    /// The account: twilio: its SID; smpp: the system id
    #[arg(
        long,
        value_name = "A",
        required_if_eq_any = [("kind", "twilio"), ("kind", "smpp")],
        help_heading = "Options of --kind twilio and smpp"
    )]
    pub account: Option<String>,
    #[command(flatten)]
    pub smpp: SmppArgs,
    #[command(flatten)]
    pub http: HttpArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of --kind smpp")]
pub struct SmppArgs {
    /// smpp: the system type, where the provider wants one
    #[arg(long, value_name = "T")]
    pub system_type: Option<String>,
    /// smpp: messages of a session that wait for their answer, 1 to 100 [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub window: Option<u32>,
    /// smpp: sessions of each process, 1 to 16 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub connections: Option<u32>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of --kind http")]
pub struct HttpArgs {
    /// http: where it is called
    #[arg(long, value_name = "U", required_if_eq("kind", "http"))]
    pub url: Option<String>,
    /// http: GET, POST, PUT or PATCH [default: POST]
    #[arg(long, value_name = "M")]
    pub method: Option<String>,
    /// http: a header; may be given again
    #[arg(long = "header", value_name = "K: V", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// http: the body [default: a JSON object of to, from, text and message_id]
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,
    /// http: the body's media type [default: application/json]
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// http: where the answer holds the provider's id, as a JSON pointer such as /messages/0/id
    #[arg(long, value_name = "POINTER")]
    pub id_pointer: Option<String>,
    /// http: where the answer holds a word that says what became of it
    #[arg(long, value_name = "POINTER")]
    pub outcome_pointer: Option<String>,
    /// http: words there that mean accepted
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub accepted_words: Vec<String>,
    /// http: words there that mean not now
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub transient_words: Vec<String>,
    /// http: words there that mean never
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    pub permanent_words: Vec<String>,
    /// http: where the answer holds how many parts the provider counts
    #[arg(long, value_name = "POINTER")]
    pub units_pointer: Option<String>,
    /// http: the header for the message's id, where the provider takes the same id once only
    #[arg(long, value_name = "NAME")]
    pub idempotency_header: Option<String>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("'{text}' is not a header; write 'Name: value'"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

pub(super) async fn run(args: SmsArgs, context: &mut Context) -> Result<(), Error> {
    let token = args.token_file.as_deref();
    let token = token.map(|path| secret::read("token-file", path)).transpose()?;
    let standby = args.standby;
    let request = SetSmsGatewayRequest { sms: gateway(args)?, token, standby };
    let client = context.client().await?;
    let answer = client.organisations().set_sms_gateway(request).await?.into_inner();
    print_changed(&answer, context)
}

/// None where there is to be none.
fn gateway(args: SmsArgs) -> Result<Option<SmsGateway>, Error> {
    refuse_foreign(&args)?;
    let Some(kind) = args.kind else { return Ok(None) };
    let kind = match kind {
        KindArg::Sandbox => Kind::Sandbox(true),
        KindArg::Twilio => Kind::Twilio(TwilioGateway {
            base_url: args.base_url.unwrap_or_default(),
            account: args.account.unwrap_or_default(),
        }),
        KindArg::Http => Kind::Http(http(args.http)?),
        KindArg::Smpp => Kind::Smpp(SmppGateway {
            url: args.base_url.unwrap_or_default(),
            system_id: args.account.unwrap_or_default(),
            system_type: args.smpp.system_type.unwrap_or_default(),
            connections: args.smpp.connections.unwrap_or_default(),
            window: args.smpp.window.unwrap_or_default(),
        }),
    };
    let from = args.from.unwrap_or_default();
    Ok(Some(SmsGateway { kind: Some(kind), from, rate: args.rate }))
}

/// A flag of another kind would be forgotten in silence.
fn refuse_foreign(args: &SmsArgs) -> Result<(), Error> {
    use KindArg::{Http, Smpp, Twilio};
    let (http, smpp) = (&args.http, &args.smpp);
    let flags: [(&str, bool, &[KindArg]); 17] = [
        ("base-url", args.base_url.is_some(), &[Twilio, Smpp]),
        ("account", args.account.is_some(), &[Twilio, Smpp]),
        ("system-type", smpp.system_type.is_some(), &[Smpp]),
        ("window", smpp.window.is_some(), &[Smpp]),
        ("connections", smpp.connections.is_some(), &[Smpp]),
        ("url", http.url.is_some(), &[Http]),
        ("method", http.method.is_some(), &[Http]),
        ("header", !http.headers.is_empty(), &[Http]),
        ("body", http.body.is_some(), &[Http]),
        ("content-type", http.content_type.is_some(), &[Http]),
        ("id-pointer", http.id_pointer.is_some(), &[Http]),
        ("outcome-pointer", http.outcome_pointer.is_some(), &[Http]),
        ("accepted-words", !http.accepted_words.is_empty(), &[Http]),
        ("transient-words", !http.transient_words.is_empty(), &[Http]),
        ("permanent-words", !http.permanent_words.is_empty(), &[Http]),
        ("units-pointer", http.units_pointer.is_some(), &[Http]),
        ("idempotency-header", http.idempotency_header.is_some(), &[Http]),
    ];
    let is_own = |kinds: &[KindArg]| args.kind.is_some_and(|kind| kinds.contains(&kind));
    let foreign = flags.iter().find(|(_, given, kinds)| *given && !is_own(kinds));
    let Some((flag, _, kinds)) = foreign else { return Ok(()) };
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    Err(Error::usage(format!(
        "--{flag}: belongs to --kind {}; leave it out, or give that kind",
        kinds.join(" or ")
    )))
}

fn http(args: HttpArgs) -> Result<HttpGateway, Error> {
    let mut headers = BTreeMap::new();
    for (name, value) in args.headers {
        if headers.insert(name.clone(), value).is_some() {
            return Err(Error::usage(format!("--header: '{name}' is given twice; give it once")));
        }
    }
    Ok(HttpGateway {
        method: args.method.unwrap_or_default(),
        url: args.url.unwrap_or_default(),
        headers,
        body: args.body.unwrap_or_default(),
        content_type: args.content_type.unwrap_or_default(),
        id_pointer: args.id_pointer.unwrap_or_default(),
        outcome_pointer: args.outcome_pointer.unwrap_or_default(),
        accepted_words: args.accepted_words,
        transient_words: args.transient_words,
        permanent_words: args.permanent_words,
        idempotency_header: args.idempotency_header.unwrap_or_default(),
        units_pointer: args.units_pointer.unwrap_or_default(),
    })
}

/// Everything but the token, which nobody is told.
pub(super) fn shown(sms: &SmsGateway) -> Value {
    let mut shown = match &sms.kind {
        None => return Value::Null,
        Some(Kind::Sandbox(_)) => json!({ "kind": "sandbox" }),
        Some(Kind::Twilio(twilio)) => json!({
            "kind": "twilio",
            "base_url": twilio.base_url,
            "account": twilio.account,
        }),
        Some(Kind::Http(http)) => json!({
            "kind": "http",
            "method": http.method,
            "url": http.url,
            "headers": http.headers,
            "body": http.body,
            "content_type": http.content_type,
            "id_pointer": http.id_pointer,
            "outcome_pointer": http.outcome_pointer,
            "units_pointer": http.units_pointer,
            "accepted_words": http.accepted_words,
            "transient_words": http.transient_words,
            "permanent_words": http.permanent_words,
            "idempotency_header": http.idempotency_header,
        }),
        Some(Kind::Smpp(smpp)) => json!({
            "kind": "smpp",
            "base_url": smpp.url,
            "account": smpp.system_id,
            "system_type": smpp.system_type,
            "window": smpp.window,
            "connections": smpp.connections,
        }),
    };
    shown["from"] = json!(sms.from);
    shown["rate"] = json!(sms.rate);
    shown
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: SmsArgs,
    }

    fn parsed(line: &str) -> Result<SmsGateway, String> {
        let words = std::iter::once("sms").chain(line.split('|'));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        let gateway = gateway(line.args).map_err(|error| error.to_string())?;
        gateway.ok_or_else(|| "removed".to_owned())
    }

    #[test]
    fn a_standby_is_set_like_the_gateway_and_can_be_removed() {
        let standby = parsed("--standby|--kind|twilio|--account|AC1|--from|+15035550100");
        assert!(matches!(standby.expect("good").kind, Some(Kind::Twilio(_))));
        assert_eq!(parsed("--standby|--remove").expect_err("none"), "removed");
        assert!(parsed("--remove").expect_err("of what").contains("--standby"));
        assert!(parsed("--standby").expect_err("which").contains("--kind"));
        for more in ["--kind|sandbox", "--from|Cafe", "--account|AC1", "--url|https://x/"] {
            parsed(&format!("--standby|--remove|{more}")).expect_err(more);
        }
    }

    #[test]
    fn each_kind_has_flags_of_its_own() {
        let sandbox = parsed("--kind|sandbox").expect("good");
        assert_eq!((sandbox.kind, sandbox.from.as_str()), (Some(Kind::Sandbox(true)), ""));
        let twilio = parsed("--kind|twilio|--account|AC1|--from|+15035550100|--rate|50");
        let twilio = twilio.expect("good");
        let expected = TwilioGateway { base_url: String::new(), account: "AC1".into() };
        assert_eq!((twilio.kind, twilio.rate), (Some(Kind::Twilio(expected)), 50));
        let http = parsed(
            "--kind|http|--url|https://x/|--header|X-Key: {token}|--header|A:b|\
             --accepted-words|ok,queued|--units-pointer|/parts|--from|Cafe",
        );
        let http = http.expect("good");
        assert_eq!(shown(&http)["units_pointer"], "/parts");
        let Some(Kind::Http(http)) = http.kind else { panic!("another kind") };
        assert_eq!(http.headers["X-Key"], "{token}");
        assert_eq!(http.accepted_words, ["ok", "queued"]);
        let smpp = "--kind|smpp|--base-url|smpp://smsc:2775|--account|me|--from|1234";
        let expected = SmppGateway {
            url: "smpp://smsc:2775".into(),
            system_id: "me".into(),
            ..SmppGateway::default()
        };
        assert_eq!(parsed(smpp).expect("good").kind, Some(Kind::Smpp(expected.clone())));
        let all = format!("{smpp}|--system-type|VMA|--window|50|--connections|2");
        let all = parsed(&all).expect("good");
        let expected =
            SmppGateway { system_type: "VMA".into(), window: 50, connections: 2, ..expected };
        assert_eq!(all.kind, Some(Kind::Smpp(expected.clone())));
        let told = json!({
            "kind": "smpp", "base_url": "smpp://smsc:2775", "account": "me", "system_type": "VMA",
            "window": 50, "connections": 2, "from": "1234", "rate": 0,
        });
        assert_eq!(shown(&all), told);
    }

    #[test]
    fn an_smsc_needs_an_address_a_system_id_and_a_sender() {
        let flags = ["--base-url|smpp://smsc", "--account|me", "--from|1234"];
        for missing in flags {
            let others: Vec<&str> = flags.into_iter().filter(|flag| *flag != missing).collect();
            let error = parsed(&format!("--kind|smpp|{}", others.join("|"))).expect_err("refused");
            assert!(error.contains(missing.split('|').next().expect("a flag")), "{error}");
        }
        for wrong in ["--window|0", "--window|101", "--connections|17"] {
            let line = format!("--kind|smpp|{}|{wrong}", flags.join("|"));
            assert!(parsed(&line).expect_err("refused").contains("is not in 1..="), "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_or_belongs_elsewhere_is_told() {
        assert!(parsed("--kind|twilio|--from|Cafe").expect_err("refused").contains("--account"));
        assert!(parsed("--kind|http|--from|Cafe").expect_err("refused").contains("--url"));
        assert!(parsed("--kind|http|--url|https://x/").expect_err("refused").contains("--from"));
        assert_eq!(
            parsed("--kind|sandbox|--account|AC1").expect_err("refused"),
            "--account: belongs to --kind twilio or smpp; leave it out, or give that kind"
        );
        assert_eq!(
            parsed("--kind|http|--url|https://x/|--from|C|--window|5").expect_err("refused"),
            "--window: belongs to --kind smpp; leave it out, or give that kind"
        );
        assert_eq!(
            parsed("--kind|twilio|--account|A|--from|C|--body|x").expect_err("refused"),
            "--body: belongs to --kind http; leave it out, or give that kind"
        );
        let twice = "--kind|http|--url|https://x/|--from|C|--header|A: b|--header|A: c";
        assert_eq!(
            parsed(twice).expect_err("refused"),
            "--header: 'A' is given twice; give it once"
        );
        let error = parsed("--kind|http|--header|nonsense").expect_err("refused");
        assert!(error.contains("write 'Name: value'"), "{error}");
    }
}
