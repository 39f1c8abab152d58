//! `carillon campaign lint`: checks a file with the server, and counts its SMS text.

use carillon_contracts::{
    campaign::v1::{CountSmsRequest, CreateCampaignRequest},
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
        campaign: Some(file.it.clone()),
        request_id: String::new(),
        validate_only: true,
    };
    let checked = client.campaigns().create_campaign(request).await;
    let content = checked.map_err(|status| file.explain(status))?.into_inner().content;
    let sms = match content.and_then(|content| content.sms) {
        None => None,
        Some(SmsContent { text, downgrade }) => {
            let request = CountSmsRequest { text, downgrade };
            client.contents().count_sms(request).await?.into_inner().sms
        }
    };
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
