//! `carillon org`: organisations and their settings.

mod alerts;
mod secret;
mod sms;
mod smtp;

use carillon_contracts::campaign::v1::{
    ConsentDefault, CreateOrganisationRequest, GetOrganisationRequest, Organisation,
    UpdateOrganisationRequest,
};
use clap::{Args, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use prost_types::FieldMask;
use serde_json::{Value, json};

use crate::{
    audit::{self, AuditArgs},
    context::Context,
    effect,
    error::Error,
    nearest::hint,
    output::{Format, instant, write_record},
};

#[derive(Debug, Subcommand)]
pub enum OrgCommand {
    /// Create an organisation with its first API key (needs the platform's key)
    #[command(
        after_help = "The API key is shown once; keep it.\n\nExample:\n  carillon org create \"Corner Café\" --time-zone Europe/Amsterdam --default-region NL -o json"
    )]
    Create(CreateArgs),
    /// Show the organisation of the API key
    #[command(after_help = "Example:\n  carillon org show -o json")]
    Show,
    /// Change a setting
    #[command(
        after_help = "Keys: name, time_zone, default_region, consent_default (not_specified, given), require_consent, subscribe_default, double_opt_in (true, false), low_balance (credits; below so many available an alert is raised; 0: none), paused (true: nothing is sent, messages wait), markets (the regions to whose numbers SMS may be sent; \"\": all), rates (credits that an SMS part costs by the region of its number; 1 elsewhere; \"\": 1 everywhere)\n\nExample:\n  carillon org set time_zone America/New_York\n  carillon org set markets NL,DE\n  carillon org set rates DE=2,US=3"
    )]
    Set(SetArgs),
    /// What somebody should look at, newest first
    #[command(
        after_help = "balance_low: fewer credits are available than `org set low_balance` says. gateway_down: the last calls of an SMS gateway failed one after another; gateway_up: it works again.\n\nExample:\n  carillon org alerts -o json"
    )]
    Alerts(alerts::AlertsArgs),
    /// Who changed what, by which key, and when; newest first
    #[command(
        after_help = "Nothing of it can be changed or removed: each entry carries the hash of the one before it, and --verify recomputes them all. Of customers the fields are named, never what is in them; a secret is set, changed or removed.\n\nExample:\n  carillon org audit --limit 20\n  carillon org audit --verify"
    )]
    Audit(AuditArgs),
    /// Set the organisation's own SMTP server, or test it
    #[command(
        after_help = "Each call sets the whole of it. The password is kept sealed and never shown; it may be left out while host, port and user stay.\n\nExample:\n  carillon org smtp --host smtp.cafe.example --port 587 --user cafe --password-file password --from news@cafe.example\n  carillon org smtp test --to zoe@cafe.example"
    )]
    Smtp(smtp::SmtpArgs),
    /// Set the organisation's SMS gateway
    #[command(
        after_help = "Each call sets the whole of it. The token is kept sealed and never shown; it may be left out while the provider stays. Give the provider the replies url that is shown as its webhook for incoming messages: STOP and START then take effect. By SMPP they come without one.\n\nWith --standby a second gateway is set: messages leave by it while the first does not work, but for those that the first may have taken. What a gateway that is replaced still reports is heard for 7 days.\n\nIn --url, --header and --body, {to}, {from}, {text}, {message_id}, {deadline}, {validity_seconds}, {callback_url} and {token} stand for their values.\n\nExample:\n  carillon org sms --kind twilio --account AC123 --token-file token --from +15035550100\n  carillon org sms --kind http --url https://sms.example/send --header 'Authorization: Bearer {token}' --token-file token --id-pointer /id --from Cafe\n  carillon org sms --kind smpp --base-url smpp://smsc.example:2775 --account cafe --token-file password --window 20 --connections 2 --from +15035550100\n  carillon org sms --standby --kind twilio --account AC123 --token-file token --from +15035550100\n  carillon org sms --standby --remove"
    )]
    Sms(Box<sms::SmsArgs>),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// 1 to 100 characters
    pub name: String,
    /// IANA zone, such as Europe/Amsterdam
    #[arg(long, value_name = "ZONE")]
    pub time_zone: String,
    /// Region of phone numbers without a country code, such as NL; without it they are refused
    #[arg(long, value_name = "CC")]
    pub default_region: Option<String>,
    /// Consent of new customers where the import says nothing
    #[arg(long, value_name = "CONSENT")]
    pub consent_default: Option<ConsentArg>,
    /// Subscribe new customers to every channel that has an address where the import says nothing
    #[arg(long)]
    pub subscribe_default: bool,
    /// Makes the call repeatable: the same id creates no second organisation
    #[arg(long, value_name = "X", value_parser = NonEmptyStringValueParser::new())]
    pub request_id: Option<String>,
}

#[derive(Debug, Args)]
pub struct SetArgs {
    /// The setting: name, time_zone, default_region, consent_default, require_consent,
    /// subscribe_default, double_opt_in, low_balance, paused, markets or rates
    pub key: String,
    /// Its new value: text, a zone (Europe/Amsterdam), a region (NL) or several (NL,DE),
    /// rates (DE=2,US=3), not_specified or given, true or false, a number of credits, as the
    /// setting needs
    pub value: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum ConsentArg {
    NotSpecified,
    Given,
}

impl From<ConsentArg> for ConsentDefault {
    fn from(consent: ConsentArg) -> Self {
        match consent {
            ConsentArg::NotSpecified => Self::NotSpecified,
            ConsentArg::Given => Self::Given,
        }
    }
}

const KEYS: [&str; 11] = [
    "name",
    "time_zone",
    "default_region",
    "consent_default",
    "require_consent",
    "subscribe_default",
    "double_opt_in",
    "low_balance",
    "paused",
    "markets",
    "rates",
];

pub async fn run(command: OrgCommand, context: &mut Context) -> Result<(), Error> {
    match command {
        OrgCommand::Create(args) => create(args, context).await,
        OrgCommand::Show => {
            let client = context.client().await?;
            let answer = client.organisations().get_organisation(GetOrganisationRequest {}).await?;
            let shown = fields(&answer.into_inner(), context.look.format);
            write_record(&mut context.out, context.look, &shown)?;
            Ok(())
        }
        OrgCommand::Set(args) => set(args, context).await,
        OrgCommand::Alerts(args) => alerts::run(args, context).await,
        OrgCommand::Audit(args) => audit::run(args, false, context).await,
        OrgCommand::Smtp(args) => smtp::run(args, context).await,
        OrgCommand::Sms(args) => sms::run(*args, context).await,
    }
}

async fn create(args: CreateArgs, context: &mut Context) -> Result<(), Error> {
    let consent = args.consent_default.map_or(ConsentDefault::Unspecified, Into::into);
    let organisation = Organisation {
        name: args.name,
        time_zone: args.time_zone,
        default_region: args.default_region.unwrap_or_default(),
        consent_default: consent.into(),
        subscribe_default: args.subscribe_default,
        ..Organisation::default()
    };
    let request = CreateOrganisationRequest {
        organisation: Some(organisation),
        request_id: args.request_id.unwrap_or_default(),
    };
    let client = context.client().await?;
    let answer = client.organisations().create_organisation(request).await?.into_inner();
    let mut shown = fields(&answer.organisation.unwrap_or_default(), context.look.format);
    shown.insert(1, ("api_key", json!(answer.api_key)));
    shown.push(("in_effect", json!(answer.in_effect)));
    write_record(&mut context.out, context.look, &shown)?;
    if context.look.format == Format::Table {
        note!(
            "{}",
            match answer.api_key.as_str() {
                "" => "this organisation had been created before; its key was shown then",
                _ => "the API key is shown this once; keep it",
            }
        );
    }
    if !answer.in_effect {
        note!(
            "stored, but not every service knows the organisation yet; its key works within a minute"
        );
    }
    Ok(())
}

async fn set(args: SetArgs, context: &mut Context) -> Result<(), Error> {
    let request = UpdateOrganisationRequest {
        organisation: Some(change(&args.key, args.value)?),
        update_mask: Some(FieldMask { paths: vec![args.key] }),
    };
    let client = context.client().await?;
    let answer = client.organisations().update_organisation(request).await?.into_inner();
    print_changed(&answer, context)
}

/// The organisation after a change, and whether that holds yet.
fn print_changed(organisation: &Organisation, context: &mut Context) -> Result<(), Error> {
    let mut shown = fields(organisation, context.look.format);
    shown.extend(effect::field(organisation.in_effect));
    write_record(&mut context.out, context.look, &shown)?;
    effect::tell(organisation.in_effect);
    Ok(())
}

/// An organisation of which only the field `key` is meant.
fn change(key: &str, value: String) -> Result<Organisation, Error> {
    let mut organisation = Organisation::default();
    match key {
        "name" => organisation.name = value,
        "time_zone" => organisation.time_zone = value,
        "default_region" => organisation.default_region = value,
        "consent_default" => {
            let consent = ConsentArg::from_str(&value, false).map_err(|_| {
                Error::usage(format!(
                    "consent_default: '{value}' is not known; write not_specified or given"
                ))
            })?;
            organisation.set_consent_default(consent.into());
        }
        "require_consent" => organisation.require_consent = switch(key, &value)?,
        "subscribe_default" => organisation.subscribe_default = switch(key, &value)?,
        "double_opt_in" => organisation.double_opt_in = switch(key, &value)?,
        "paused" => organisation.paused = switch(key, &value)?,
        "low_balance" => {
            organisation.low_balance = value.parse().map_err(|_| {
                Error::usage(format!(
                    "low_balance: '{value}' is not a whole number of credits; write one, such as 500, \
                     or 0 for no alert"
                ))
            })?;
        }
        "markets" => {
            let codes = value.split(',').map(str::trim).filter(|code| !code.is_empty());
            organisation.markets = codes.map(str::to_owned).collect();
        }
        "rates" => {
            let written = value.split(',').map(str::trim).filter(|rate| !rate.is_empty());
            for written in written {
                let (region, credits) = rate(written)?;
                if organisation.rates.insert(region.clone(), credits).is_some() {
                    let twice = format!("rates: '{region}' is named twice; name it once");
                    return Err(Error::usage(twice));
                }
            }
        }
        _ => {
            return Err(Error::usage(format!("'{key}' is not a setting: {}", hint(key, KEYS))));
        }
    }
    Ok(organisation)
}

/// `DE=2`.
fn rate(written: &str) -> Result<(String, u32), Error> {
    let parsed = written.split_once('=').and_then(|(region, credits)| {
        Some((region.trim().to_owned(), credits.trim().parse().ok()?))
    });
    parsed.ok_or_else(|| {
        Error::usage(format!(
            "rates: '{written}' is not a region with its whole credits a part; write such as DE=2"
        ))
    })
}

fn switch(key: &str, value: &str) -> Result<bool, Error> {
    match value {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(Error::usage(format!("{key}: '{value}' is not a switch; write true or false"))),
    }
}

fn fields(organisation: &Organisation, format: Format) -> Vec<(&'static str, Value)> {
    let consent = match organisation.consent_default() {
        ConsentDefault::Unspecified => Value::Null,
        ConsentDefault::NotSpecified => json!("not_specified"),
        ConsentDefault::Given => json!("given"),
    };
    let smtp = organisation.smtp.as_ref();
    vec![
        ("id", json!(organisation.id)),
        ("name", json!(organisation.name)),
        ("time_zone", json!(organisation.time_zone)),
        ("default_region", json!(organisation.default_region)),
        ("consent_default", consent),
        ("require_consent", json!(organisation.require_consent)),
        ("subscribe_default", json!(organisation.subscribe_default)),
        ("double_opt_in", json!(organisation.double_opt_in)),
        ("low_balance", json!(organisation.low_balance)),
        ("paused", json!(organisation.paused)),
        ("markets", json!(organisation.markets)),
        ("rates", json!(organisation.rates)),
        ("smtp", smtp.map_or(Value::Null, |smtp| smtp::shown(smtp, format))),
        ("sms", organisation.sms.as_ref().map_or(Value::Null, sms::shown)),
        ("replies_url", json!(organisation.replies_url)),
        ("sms_standby", organisation.sms_standby.as_ref().map_or(Value::Null, sms::shown)),
        ("standby_replies_url", json!(organisation.standby_replies_url)),
        ("create_time", instant(organisation.create_time.as_ref())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = change("timezone", "Europe/Paris".to_owned()).expect_err("refused");
        assert_eq!(error.to_string(), "'timezone' is not a setting: did you mean 'time_zone'?");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn markets_are_a_list_and_nothing_means_all() {
        let markets = |value: &str| change("markets", value.to_owned()).expect("good").markets;
        assert_eq!(markets("NL,DE"), ["NL", "DE"]);
        assert_eq!(markets(" NL , DE,"), ["NL", "DE"]);
        assert_eq!(markets(""), [""; 0]);
    }

    #[test]
    fn rates_are_regions_with_credits_and_nothing_means_one_everywhere() {
        let rates = |value: &str| change("rates", value.to_owned()).map(|changed| changed.rates);
        let expected = [("DE".to_owned(), 2), ("US".to_owned(), 3)];
        assert_eq!(rates(" US=3, DE = 2,").expect("good"), expected.into());
        assert!(rates("").expect("good").is_empty());
        for wrong in ["DE", "DE=", "DE=two", "DE=-1", "DE=1.5"] {
            let error = rates(wrong).expect_err("refused");
            assert!(error.to_string().contains(&format!("rates: '{wrong}'")), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn a_switch_and_a_word_are_checked_here() {
        let error = change("double_opt_in", "perhaps".to_owned()).expect_err("refused");
        assert!(error.to_string().contains("double_opt_in: 'perhaps'"), "{error}");
        let error = change("consent_default", "withheld".to_owned()).expect_err("refused");
        assert!(error.to_string().contains("not_specified or given"), "{error}");
        let changed = change("consent_default", "given".to_owned()).expect("good");
        assert_eq!(changed.consent_default(), ConsentDefault::Given);
    }
}
