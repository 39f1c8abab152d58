//! `carillon org sms`: the organisation's SMS gateway.

use std::{collections::BTreeMap, path::PathBuf};

use carillon_contracts::campaign::v1::{
    HttpGateway, SetSmsGatewayRequest, SmsGateway, TwilioGateway, sms_gateway::Kind,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{fields, secret};
use crate::{context::Context, error::Error, output::write_record};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// Keeps every message where a person can look at it, and sends none
    Sandbox,
    /// Twilio's Messages API, or a provider that takes the same
    Twilio,
    /// A provider described by how it is called
    Http,
}

#[derive(Debug, Args)]
pub struct SmsArgs {
    /// What kind of gateway it is
    #[arg(long, value_name = "KIND")]
    pub kind: KindArg,
    /// The sender: a number such as +15035550100, or 1 to 11 letters and digits
    #[arg(long, value_name = "N", required_if_eq_any = [("kind", "twilio"), ("kind", "http")])]
    pub from: Option<String>,
    /// Messages a second over all processes; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rate: u32,
    /// A file that holds the token, or the password
    #[arg(long, value_name = "F")]
    pub token_file: Option<PathBuf>,
    /// twilio: the provider's address [default: https://api.twilio.com]
    #[arg(long, value_name = "U", help_heading = "Options of --kind twilio")]
    pub base_url: Option<String>,
    /// twilio: the account SID
    #[arg(
        long,
        value_name = "A",
        required_if_eq("kind", "twilio"),
        help_heading = "Options of --kind twilio"
    )]
    pub account: Option<String>,
    #[command(flatten)]
    pub http: HttpArgs,
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
    let request = SetSmsGatewayRequest { sms: Some(gateway(args)?), token };
    let client = context.client().await?;
    let answer = client.organisations().set_sms_gateway(request).await?.into_inner();
    write_record(&mut context.out, context.look, &fields(&answer))?;
    Ok(())
}

fn gateway(args: SmsArgs) -> Result<SmsGateway, Error> {
    refuse_foreign(&args)?;
    let kind = match args.kind {
        KindArg::Sandbox => Kind::Sandbox(true),
        KindArg::Twilio => Kind::Twilio(TwilioGateway {
            base_url: args.base_url.unwrap_or_default(),
            account: args.account.unwrap_or_default(),
        }),
        KindArg::Http => Kind::Http(http(args.http)?),
    };
    let from = args.from.unwrap_or_default();
    Ok(SmsGateway { kind: Some(kind), from, rate: args.rate })
}

/// A flag of another kind would be forgotten in silence.
fn refuse_foreign(args: &SmsArgs) -> Result<(), Error> {
    let http = &args.http;
    let twilio = [("base-url", args.base_url.is_some()), ("account", args.account.is_some())];
    let described = [
        ("url", http.url.is_some()),
        ("method", http.method.is_some()),
        ("header", !http.headers.is_empty()),
        ("body", http.body.is_some()),
        ("content-type", http.content_type.is_some()),
        ("id-pointer", http.id_pointer.is_some()),
        ("outcome-pointer", http.outcome_pointer.is_some()),
        ("accepted-words", !http.accepted_words.is_empty()),
        ("transient-words", !http.transient_words.is_empty()),
        ("permanent-words", !http.permanent_words.is_empty()),
        ("idempotency-header", http.idempotency_header.is_some()),
    ];
    let foreign = |kind: KindArg, flags: &[(&'static str, bool)]| {
        let given = flags.iter().find(|(_, given)| *given && args.kind != kind)?;
        let kind = if kind == KindArg::Twilio { "twilio" } else { "http" };
        Some(Error::usage(format!(
            "--{}: belongs to --kind {kind}; leave it out, or give that kind",
            given.0
        )))
    };
    let wrong = foreign(KindArg::Twilio, &twilio).or_else(|| foreign(KindArg::Http, &described));
    wrong.map_or(Ok(()), Err)
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
            "accepted_words": http.accepted_words,
            "transient_words": http.transient_words,
            "permanent_words": http.permanent_words,
            "idempotency_header": http.idempotency_header,
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
        gateway(line.args).map_err(|error| error.to_string())
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
             --accepted-words|ok,queued|--from|Cafe",
        );
        let Some(Kind::Http(http)) = http.expect("good").kind else { panic!("another kind") };
        assert_eq!(http.headers["X-Key"], "{token}");
        assert_eq!(http.accepted_words, ["ok", "queued"]);
    }

    #[test]
    fn what_is_missing_or_belongs_elsewhere_is_told() {
        assert!(parsed("--kind|twilio|--from|Cafe").expect_err("refused").contains("--account"));
        assert!(parsed("--kind|http|--from|Cafe").expect_err("refused").contains("--url"));
        assert!(parsed("--kind|http|--url|https://x/").expect_err("refused").contains("--from"));
        assert_eq!(
            parsed("--kind|sandbox|--account|AC1").expect_err("refused"),
            "--account: belongs to --kind twilio; leave it out, or give that kind"
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
