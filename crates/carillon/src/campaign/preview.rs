//! `carillon campaign preview`: the content as one customer would see it.

use carillon_content::sms::MAX_CHARACTERS;
use carillon_contracts::campaign::v1::{EmailPreview, PreviewCampaignRequest, SmsPreview};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Error,
    output::{Format, Look, Out, printable, printable_lines, rows::Rows, write_json},
};

#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The campaign's id
    pub id: String,
    /// The customer's external id
    #[arg(long, value_name = "C")]
    pub customer: String,
}

pub async fn run(args: PreviewArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = PreviewCampaignRequest { id: args.id, customer: args.customer };
    let preview = client.campaigns().preview_campaign(request).await?.into_inner();
    let (look, out) = (context.look, &mut context.out);
    let (sms, email) = (preview.sms.as_ref(), preview.email.as_ref());
    match look.format {
        Format::Json => {
            let channels = json!({ "sms": sms.map(sms_json), "email": email.map(email_json) });
            write_json(out, &channels)?;
        }
        Format::Csv => {
            let mut rows = Rows::new(out, look, &["channel", "to", "subject", "text", "skipped"]);
            if let Some(sms) = sms {
                let cells = ["sms", &sms.to, "", &sms.text, &sms.skipped];
                rows.row(cells.iter().map(|cell| json!(cell)).collect())?;
            }
            if let Some(email) = email {
                let cells = ["email", &email.to, &email.subject, &email.text, &email.skipped];
                rows.row(cells.iter().map(|cell| json!(cell)).collect())?;
            }
            rows.finish()?;
        }
        Format::Table => {
            if let Some(sms) = sms {
                print_sms(out, look, sms)?;
            }
            if let Some(email) = email {
                if sms.is_some() {
                    use std::io::Write as _;
                    writeln!(out)?;
                }
                print_email(out, look, email)?;
            }
        }
    }
    Ok(())
}

pub fn sms_json(sms: &SmsPreview) -> Value {
    json!({
        "to": sms.to, "text": sms.text, "encoding": sms.encoding, "characters": sms.characters,
        "parts": sms.parts, "credits": sms.credits, "left_in_part": sms.left_in_part,
        "forced_by": sms.forced_by,
        "line_breaks": sms.line_breaks, "characters_left": sms.characters_left,
        "skipped": sms.skipped,
    })
}

fn email_json(email: &EmailPreview) -> Value {
    json!({
        "to": email.to, "subject": email.subject, "text": email.text, "html": email.html,
        "skipped": email.skipped,
    })
}

fn print_sms(out: Out<'_>, look: Look, sms: &SmsPreview) -> std::io::Result<()> {
    writeln!(out, "{}", heading(look, "sms", &sms.to, &sms.skipped))?;
    writeln!(out, "{}", printable_lines(&sms.text))?;
    print_size(out, look, sms)
}

/// How large the text is, and what should be thought of again.
pub fn print_size(out: Out<'_>, look: Look, sms: &SmsPreview) -> std::io::Result<()> {
    let mut facts = format!(
        "{} characters, {} left, in {}, {} part{}, {} left in the last",
        sms.characters,
        sms.characters_left,
        sms.encoding,
        sms.parts,
        if sms.parts == 1 { "" } else { "s" },
        sms.left_in_part
    );
    if sms.credits > sms.parts {
        facts.push_str(&format!("; {} credits", sms.credits));
    }
    if !sms.forced_by.is_empty() {
        facts.push_str(&format!("; '{}' forces UCS-2", printable(&sms.forced_by)));
    }
    writeln!(out, "({facts})")?;
    if sms.characters as usize > MAX_CHARACTERS {
        let warning = format!("more than {MAX_CHARACTERS} characters: it is not sent");
        writeln!(out, "({})", look.warn(&warning))?;
    }
    if sms.line_breaks > 0 {
        let warning = format!("{} line breaks: some phones do not show them", sms.line_breaks);
        writeln!(out, "({})", look.warn(&warning))?;
    }
    Ok(())
}

fn print_email(out: Out<'_>, look: Look, email: &EmailPreview) -> std::io::Result<()> {
    writeln!(out, "{}", heading(look, "email", &email.to, &email.skipped))?;
    writeln!(out, "Subject: {}\n", printable(&email.subject))?;
    writeln!(out, "{}", printable_lines(email.text.trim_end()))?;
    if !email.html.is_empty() {
        let size = crate::output::thousands(email.html.chars().count() as u64);
        writeln!(out, "(and {size} characters of HTML: -o json shows them)")?;
    }
    Ok(())
}

fn heading(look: Look, channel: &str, to: &str, skipped: &str) -> String {
    let to = if to.is_empty() { "nobody" } else { to };
    let heading = look.bold(&format!("{channel} to {}", printable(to)));
    if skipped.is_empty() {
        return heading;
    }
    let why = format!("would not be sent: {}", printable(skipped).replace('_', " "));
    format!("{heading}  {}", look.warn(&why))
}
