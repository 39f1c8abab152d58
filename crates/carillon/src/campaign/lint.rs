//! `carillon campaign lint`: checks a file with the server, and counts its SMS text.

use carillon_content::{
    Values, Variable,
    sms::{MAX_CHARACTERS, SmsText, count},
};
use carillon_contracts::{
    campaign::v1::{CreateCampaignRequest, SmsPreview},
    jobs::v1::SmsContent,
};
use serde_json::{Value, json};

use super::{
    FileArgs,
    file::CampaignFile,
    preview::{print_size, sms_json},
};
use crate::{
    context::Context,
    error::Error,
    output::{Format, write_record},
};

pub async fn run(args: FileArgs, context: &mut Context) -> Result<(), Error> {
    let file = CampaignFile::read(&args.file)?;
    let client = context.client().await?;
    let request = CreateCampaignRequest {
        campaign: Some(file.campaign.clone()),
        request_id: String::new(),
        validate_only: true,
    };
    let checked = client.campaigns().create_campaign(request).await;
    let content = checked.map_err(|status| file.explain(status))?.into_inner().content;
    let sms = content.and_then(|content| content.sms).and_then(|sms| size(&sms));
    let (look, out) = (context.look, &mut context.out);
    match look.format {
        Format::Table => {
            use std::io::Write as _;
            writeln!(out, "{}: {}", file.name, look.good("OK"))?;
            if let Some(sms) = sms {
                writeln!(out, "SMS before substitution, as those get it who have no values:")?;
                print_size(out, look, &sms)?;
            }
        }
        Format::Json | Format::Csv => {
            let sms = sms.as_ref().map_or(Value::Null, sms_json);
            write_record(
                out,
                look,
                &[("file", json!(file.name)), ("ok", json!(true)), ("sms", sms)],
            )?;
        }
    }
    Ok(())
}

/// Only fallbacks.
struct Nothing;

impl Values for Nothing {
    fn value(&self, _: &Variable) -> Option<&str> {
        None
    }
}

/// None for what the server would have refused.
fn size(sms: &SmsContent) -> Option<SmsPreview> {
    let text = SmsText::parse(&sms.text, sms.downgrade).ok()?.render(&Nothing);
    let counted = count(&text);
    Some(SmsPreview {
        encoding: counted.encoding.name().into(),
        characters: counted.characters,
        parts: counted.parts,
        left_in_part: counted.left_in_part,
        forced_by: counted.forced_by.map(String::from).unwrap_or_default(),
        line_breaks: counted.line_breaks,
        characters_left: (MAX_CHARACTERS as u32).saturating_sub(counted.characters),
        text,
        ..SmsPreview::default()
    })
}
