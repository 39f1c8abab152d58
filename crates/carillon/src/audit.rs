//! `carillon org audit` and `carillon ops audit`: who changed what, by which key, and when.

use carillon_contracts::campaign::v1::{
    AuditEntry, ListAuditEntriesRequest, VerifyAuditEntriesRequest,
};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Error,
    output::{Format, Look, rows::Rows, write_record},
    pages::Pages,
};

#[derive(Debug, Args)]
pub struct AuditArgs {
    /// So many at most; all without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Recompute the chain of hashes instead, and say whether every entry is as it was written
    #[arg(long, conflicts_with = "limit")]
    pub verify: bool,
}

/// `platform`: what was done with the platform's key, instead of in an organisation.
pub async fn run(args: AuditArgs, platform: bool, context: &mut Context) -> Result<(), Error> {
    if args.verify { verify(platform, context).await } else { list(args, platform, context).await }
}

async fn list(args: AuditArgs, platform: bool, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let look = context.look;
    let columns: &[&str] = match look.format {
        Format::Table => &["number", "time", "key", "act", "subject", "change"],
        Format::Json | Format::Csv => {
            &["number", "time", "key_id", "key", "act", "subject", "before", "after", "hash"]
        }
    };
    let mut rows = Rows::new(&mut context.out, look, columns);
    let mut pages = Pages::new(args.limit);
    while let Some((page_size, page_token)) = pages.ask() {
        let request = ListAuditEntriesRequest { platform, page_size, page_token };
        let page = client.audit().list_audit_entries(request).await?.into_inner();
        for entry in pages.cut(page.entries, page.next_page_token) {
            rows.row(row(entry, look))?;
        }
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("nothing was changed yet");
    }
    Ok(())
}

fn row(entry: AuditEntry, look: Look) -> Vec<Value> {
    let time = look.instant(entry.time.as_ref());
    let (before, after) = (fields(&entry.before), fields(&entry.after));
    let [number, key] = [json!(entry.number), json!(entry.key_prefix)];
    let [act, subject] = [json!(entry.act), json!(entry.subject)];
    match look.format {
        Format::Table => vec![number, time, key, act, subject, json!(in_words(&before, &after))],
        Format::Json | Format::Csv => {
            let [key_id, hash] = [json!(entry.key_id), json!(entry.hash)];
            vec![number, time, key_id, key, act, subject, before, after, hash]
        }
    }
}

/// A JSON object of the wire; `null` where there is none.
fn fields(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// `paused: false → true`.
fn in_words(before: &Value, after: &Value) -> String {
    let short = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let names = |value: &Value| -> Vec<String> {
        value.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    };
    let mut all = names(before);
    all.extend(names(after));
    all.sort();
    all.dedup();
    let words = all.iter().map(|name| match (before.get(name), after.get(name)) {
        (Some(was), is) => {
            format!("{name}: {} → {}", short(was), is.map_or_else(String::new, short))
        }
        (None, is) => format!("{name}: {}", is.map_or_else(String::new, short)),
    });
    words.collect::<Vec<_>>().join(", ")
}

async fn verify(platform: bool, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let request = VerifyAuditEntriesRequest { platform };
    let answer = client.audit().verify_audit_entries(request).await?.into_inner();
    if answer.broken > 0 {
        return Err(Error::failed(format!(
            "entry {} is missing or not as it was written; whoever can write to campaign-api's \
             database may have changed it, so compare with a backup",
            answer.broken
        )));
    }
    let fields =
        [("whole", json!(true)), ("entries", json!(answer.entries)), ("hash", json!(answer.hash))];
    write_record(&mut context.out, context.look, &fields)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_said_in_words() {
        let before = json!({ "name": "A", "markets": ["NL"] });
        let after = json!({ "name": "B", "token": "set" });
        assert_eq!(in_words(&before, &after), "markets: [\"NL\"] → , name: A → B, token: set");
        assert_eq!(in_words(&Value::Null, &Value::Null), "");
    }

    #[test]
    fn scripts_read_objects() {
        let entry = AuditEntry { number: 3, after: r#"{"a":1}"#.into(), ..AuditEntry::default() };
        let row = row(entry, Look::plain(Format::Json));
        assert_eq!((&row[6], &row[7]), (&Value::Null, &json!({ "a": 1 })));
    }
}
