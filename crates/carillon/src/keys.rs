//! `carillon keys`: the API keys of the organisation.

use carillon_contracts::campaign::v1::{
    CreateKeyRequest, CreateKeyResponse, Key, ListKeysRequest, RevokeKeyRequest, RotateKeyRequest,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::{
    context::Context,
    error::Error,
    output::{Format, instant, instant_text, rows::Rows, write_record},
};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a further key, and show it once
    #[command(
        after_help = "Campaigns and test sends that are started with a test key go to the sandbox, or nowhere where the server has none; its SMS count no parts. It does all else that any key does, but it resumes no other campaign and makes no other key.\n\nExample:\n  carillon keys create --name \"till 3\" -o json\n  carillon keys create --name trying --test"
    )]
    Create(CreateArgs),
    /// List the keys that work, oldest first
    #[command(after_help = "Example:\n  carillon keys list")]
    List,
    /// Put a new key in the place of one, which is revoked at the same moment
    #[command(after_help = "Example:\n  carillon keys rotate ID -o json")]
    Rotate(IdArgs),
    /// Refuse a key from now on; the last one can only be rotated
    #[command(after_help = "Example:\n  carillon keys revoke ID")]
    Revoke(IdArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What the key is for; 100 characters at most
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub name: String,
    /// What is started with the key reaches no gateway and costs nothing
    #[arg(long)]
    pub test: bool,
}

#[derive(Debug, Args)]
pub struct IdArgs {
    /// The key's id, as `carillon keys list` shows it
    pub id: String,
}

pub async fn run(command: KeysCommand, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    match command {
        KeysCommand::Create(args) => {
            let request = CreateKeyRequest { name: args.name, test: args.test };
            print(client.keys().create_key(request).await?.into_inner(), context)
        }
        KeysCommand::List => {
            let keys = client.keys().list_keys(ListKeysRequest {}).await?.into_inner().keys;
            list(keys, context)
        }
        KeysCommand::Rotate(args) => {
            let request = RotateKeyRequest { id: args.id };
            print(client.keys().rotate_key(request).await?.into_inner(), context)
        }
        KeysCommand::Revoke(args) => {
            let request = RevokeKeyRequest { id: args.id.clone() };
            let answer = client.keys().revoke_key(request).await?.into_inner();
            let fields = [
                ("id", json!(args.id)),
                ("revoked", json!(true)),
                ("in_effect", json!(answer.in_effect)),
            ];
            write_record(&mut context.out, context.look, &fields)?;
            if !answer.in_effect {
                note!("stored, but not every service refuses the key yet; each does once it hears");
            }
            Ok(())
        }
    }
}

fn fields(key: &Key) -> Vec<(&'static str, Value)> {
    vec![
        ("id", json!(key.id)),
        ("name", json!(key.name)),
        ("prefix", json!(key.prefix)),
        ("test", json!(key.test)),
        ("create_time", instant(key.create_time.as_ref())),
    ]
}

fn print(made: CreateKeyResponse, context: &mut Context) -> Result<(), Error> {
    let mut shown = fields(&made.key.unwrap_or_default());
    shown.insert(1, ("api_key", json!(made.api_key)));
    shown.push(("in_effect", json!(made.in_effect)));
    write_record(&mut context.out, context.look, &shown)?;
    if context.look.format == Format::Table {
        note!("the API key is shown this once; keep it");
    }
    if !made.in_effect {
        note!("stored, but not every service knows the key yet; it works within a minute");
    }
    Ok(())
}

fn list(keys: Vec<Key>, context: &mut Context) -> Result<(), Error> {
    let look = context.look;
    let columns = ["id", "name", "prefix", "test", "create_time"];
    let mut rows = Rows::new(&mut context.out, look, &columns);
    for key in &keys {
        let mut values: Vec<Value> = fields(key).into_iter().map(|(_, value)| value).collect();
        if look.format == Format::Table {
            values[4] = json!(instant_text(key.create_time.as_ref()));
        }
        rows.row(values)?;
    }
    rows.finish()?;
    Ok(())
}
