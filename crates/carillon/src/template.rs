//! `carillon template`: saved texts and their versions.

use carillon_contracts::campaign::v1::{
    CreateTemplateRequest, DeleteTemplateRequest, GetTemplateRequest, ListTemplateVersionsRequest,
    ListTemplatesRequest, Template, UpdateTemplateRequest,
};
use clap::{Args, Subcommand, builder::NonEmptyStringValueParser};
use serde_json::{Value, json};

use crate::{
    campaign::{
        FileArgs,
        file::TemplateFile,
        show::{content, content_lines},
    },
    client::Client,
    context::Context,
    error::Error,
    output::{Format, Look, Out, instant, instant_text, rows::Rows, write_record},
    pages::Pages,
};

const TABLE: [&str; 5] = ["id", "name", "version", "created", "saved"];

#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    /// Save texts under a new name
    #[command(after_help = "Example:\n  carillon template create -f examples/template.yaml")]
    Create(CreateArgs),
    /// List saved texts, newest first
    #[command(after_help = "Example:\n  carillon template list")]
    List(ListArgs),
    /// Show saved texts
    #[command(after_help = "Example:\n  carillon template show members-monday --version 1")]
    Show(ShowArgs),
    /// Save texts once more, as a new version; campaigns keep the one they have
    #[command(
        after_help = "Example:\n  carillon template update members-monday -f examples/template.yaml"
    )]
    Update(UpdateArgs),
    /// List the versions of saved texts, newest first
    #[command(after_help = "Example:\n  carillon template versions members-monday")]
    Versions(VersionsArgs),
    /// Delete saved texts: by their id they can still be read, and campaigns keep theirs
    #[command(after_help = "Example:\n  carillon template delete members-monday")]
    Delete(NameArgs),
}

#[derive(Debug, Args)]
pub struct NameArgs {
    /// The template's name, or its id
    pub name: String,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// Makes the call repeatable: the same id creates no second template
    #[arg(long, value_name = "X", value_parser = NonEmptyStringValueParser::new())]
    pub request_id: Option<String>,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    pub name: NameArgs,
    /// An older version; the newest without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub version: Option<u64>,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    #[command(flatten)]
    pub name: NameArgs,
    #[command(flatten)]
    pub file: FileArgs,
    /// Save only if this is still the newest version
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub expect: Option<u64>,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// So many at most; all without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

#[derive(Debug, Args)]
pub struct VersionsArgs {
    #[command(flatten)]
    pub name: NameArgs,
    #[command(flatten)]
    pub list: ListArgs,
}

pub async fn run(command: TemplateCommand, context: &mut Context) -> Result<(), Error> {
    match command {
        TemplateCommand::Create(args) => create(args, context).await,
        TemplateCommand::List(args) => list(None, args, context).await,
        TemplateCommand::Versions(args) => list(Some(args.name.name), args.list, context).await,
        TemplateCommand::Update(args) => update(args, context).await,
        TemplateCommand::Show(args) => {
            let client = context.client().await?;
            let version = args.version.unwrap_or_default();
            let request = GetTemplateRequest { template: args.name.name, version };
            let template = client.templates().get_template(request).await?.into_inner();
            print(&mut context.out, context.look, &template)
        }
        TemplateCommand::Delete(args) => {
            let client = context.client().await?;
            let request = DeleteTemplateRequest { template: args.name };
            let template = client.templates().delete_template(request).await?.into_inner();
            print(&mut context.out, context.look, &template)
        }
    }
}

async fn create(args: CreateArgs, context: &mut Context) -> Result<(), Error> {
    let file = TemplateFile::read(&args.file.file)?;
    let client = context.client().await?;
    let request = CreateTemplateRequest {
        template: Some(file.it.clone()),
        request_id: args.request_id.unwrap_or_default(),
    };
    let answer = client.templates().create_template(request).await;
    let template = answer.map_err(|status| file.explain(status))?.into_inner();
    print(&mut context.out, context.look, &template)?;
    if context.look.format == Format::Table {
        note!("a campaign file uses it as `content: {{ template: {} }}`", template.name);
    }
    Ok(())
}

async fn update(args: UpdateArgs, context: &mut Context) -> Result<(), Error> {
    let file = TemplateFile::read(&args.file.file)?;
    let client = context.client().await?;
    let named = args.name.name;
    let request = GetTemplateRequest { template: named.clone(), version: 0 };
    let before = client.templates().get_template(request).await?.into_inner();
    if !file.it.name.is_empty() && file.it.name != before.name {
        return Err(Error::failed(format!(
            "{}: name: is '{}', but a template keeps its name, '{}'; leave it out, or create another one",
            file.name, file.it.name, before.name
        )));
    }
    let request = UpdateTemplateRequest {
        template: before.id.clone(),
        content: file.it.content.clone(),
        expected_version: args.expect.unwrap_or_default(),
    };
    let answer = client.templates().update_template(request).await;
    let template = answer.map_err(|status| file.explain(status))?.into_inner();
    print(&mut context.out, context.look, &template)?;
    if context.look.format == Format::Table && template.version == before.version {
        note!("the texts are those of version {} already", template.version);
    }
    Ok(())
}

/// The templates, or the versions of one.
async fn list(of: Option<String>, args: ListArgs, context: &mut Context) -> Result<(), Error> {
    let client = context.client().await?;
    let look = context.look;
    let columns: Vec<&str> = match look.format {
        Format::Table => TABLE.to_vec(),
        Format::Json | Format::Csv => {
            fields(&Template::default()).iter().map(|(name, _)| *name).collect()
        }
    };
    let mut rows = Rows::new(&mut context.out, look, &columns);
    let mut pages = Pages::new(args.limit);
    while let Some((size, token)) = pages.ask() {
        let (page, next) = page(&client, of.as_deref(), size, token).await?;
        for template in pages.cut(page, next) {
            rows.row(match look.format {
                Format::Table => table_row(&template),
                Format::Json | Format::Csv => {
                    fields(&template).into_iter().map(|(_, value)| value).collect()
                }
            })?;
        }
    }
    if rows.finish()? == 0 && look.format == Format::Table {
        note!("no templates yet; save one with `carillon template create -f FILE.yaml`");
    }
    Ok(())
}

async fn page(
    client: &Client,
    of: Option<&str>,
    page_size: i32,
    page_token: String,
) -> Result<(Vec<Template>, String), Error> {
    let mut templates = client.templates();
    Ok(match of {
        None => {
            let request = ListTemplatesRequest { page_size, page_token };
            let page = templates.list_templates(request).await?.into_inner();
            (page.templates, page.next_page_token)
        }
        Some(template) => {
            let template = template.to_owned();
            let request = ListTemplateVersionsRequest { template, page_size, page_token };
            let page = templates.list_template_versions(request).await?.into_inner();
            (page.versions, page.next_page_token)
        }
    })
}

fn table_row(template: &Template) -> Vec<Value> {
    vec![
        json!(template.id),
        json!(template.name),
        json!(template.version),
        json!(instant_text(template.create_time.as_ref())),
        json!(instant_text(template.update_time.as_ref())),
    ]
}

fn fields(template: &Template) -> Vec<(&'static str, Value)> {
    vec![
        ("id", json!(template.id)),
        ("name", json!(template.name)),
        ("version", json!(template.version)),
        ("content", content(template.content.as_ref())),
        ("create_time", instant(template.create_time.as_ref())),
        ("update_time", instant(template.update_time.as_ref())),
        ("delete_time", instant(template.delete_time.as_ref())),
    ]
}

/// For people each text has a line of its own, without the HTML.
fn print(out: Out<'_>, look: Look, template: &Template) -> Result<(), Error> {
    let mut shown = Vec::new();
    for (name, value) in fields(template) {
        match name {
            "content" if look.format == Format::Table => {
                shown.extend(content_lines(template.content.as_ref()));
            }
            _ => shown.push((name, value)),
        }
    }
    write_record(out, look, &shown)?;
    Ok(())
}
