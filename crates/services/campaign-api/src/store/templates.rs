use carillon_contracts::{
    campaign::v1::Template,
    ids::{OrganisationId, TemplateId},
    jobs::v1::Content,
    time,
};
use carillon_service_kit::database::Sql;
use jiff::Timestamp;
use prost::Message as _;
use sea_orm::{DatabaseTransaction, DbErr, QueryResult, Value};

use crate::{domain::template::Which, request::Request};

/// A version of a template.
#[derive(Clone)]
pub(crate) struct TemplateRow {
    pub id: TemplateId,
    pub name: String,
    pub version: u64,
    pub content: Content,
    pub created_ms: i64,
    /// When this version was.
    pub saved_ms: i64,
    pub deleted_ms: Option<i64>,
}

/// Of a template and the version that is joined to it.
const COLUMNS: &str = "t.template_id, t.name, t.created_at, t.deleted_at, v.version, v.document,
    v.saved_at";

impl TemplateRow {
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let document: Vec<u8> = row.try_get("", "document")?;
        Ok(Self {
            id: TemplateId::new(row.try_get("", "template_id")?),
            name: row.try_get("", "name")?,
            version: row.try_get::<i64>("", "version")?.cast_unsigned(),
            content: Content::decode(document.as_slice())
                .map_err(|error| DbErr::Type(error.to_string()))?,
            created_ms: row.try_get("", "created_at")?,
            saved_ms: row.try_get("", "saved_at")?,
            deleted_ms: row.try_get("", "deleted_at")?,
        })
    }

    /// As the audit names it.
    pub(crate) fn subject(&self) -> String {
        format!("templates/{}", self.id)
    }

    pub(crate) fn into_template(self) -> Template {
        let instant = |ms| Timestamp::from_millisecond(ms).ok().map(time::to_wire);
        Template {
            id: self.id.to_string(),
            name: self.name,
            content: Some(self.content),
            version: self.version,
            create_time: instant(self.created_ms),
            update_time: instant(self.saved_ms),
            delete_time: self.deleted_ms.and_then(instant),
        }
    }
}

/// The newest version. Of those with a name it is the one that is not deleted, if there is one, or
/// else the one that was deleted last.
pub(crate) async fn template(
    connection: &impl Sql,
    organisation: OrganisationId,
    which: &Which,
) -> Result<Option<TemplateRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM templates t
         JOIN template_versions v ON v.template_id = t.template_id AND v.version = t.version
         WHERE t.organisation_id = $1 AND (t.template_id = $2 OR t.name = $3)
         ORDER BY t.deleted_at IS NOT NULL, t.deleted_at DESC, t.template_id DESC LIMIT 1"
    );
    let (id, name) = named(which);
    let row = connection.row(&sql, [organisation.uuid().into(), id, name]).await?;
    row.as_ref().map(TemplateRow::read).transpose()
}

/// To change it: nobody else does until the transaction ends.
pub(crate) async fn locked_template(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    id: TemplateId,
) -> Result<Option<TemplateRow>, DbErr> {
    // Locked first and read then: while the lock was waited for, its newest version changed.
    let sql = "SELECT version FROM templates WHERE organisation_id = $1 AND template_id = $2
         FOR UPDATE";
    if tx.row(sql, [organisation.uuid().into(), id.uuid().into()]).await?.is_none() {
        return Ok(None);
    }
    template(tx, organisation, &Which::Id(id)).await
}

pub(crate) async fn template_version(
    connection: &impl Sql,
    organisation: OrganisationId,
    id: TemplateId,
    version: u64,
) -> Result<Option<TemplateRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM templates t JOIN template_versions v USING (template_id)
         WHERE t.organisation_id = $1 AND t.template_id = $2 AND v.version = $3"
    );
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    let given = [organisation.uuid().into(), id.uuid().into(), version.into()];
    let row = connection.row(&sql, given).await?;
    row.as_ref().map(TemplateRow::read).transpose()
}

/// The template that a request created, in its first version, and the hash of its body.
pub(crate) async fn template_by_request(
    connection: &impl Sql,
    organisation: OrganisationId,
    request_id: &str,
) -> Result<Option<(TemplateRow, Vec<u8>)>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS}, t.request_hash FROM templates t
         JOIN template_versions v ON v.template_id = t.template_id AND v.version = 1
         WHERE t.organisation_id = $1 AND t.request_id = $2"
    );
    let row = connection.row(&sql, [organisation.uuid().into(), request_id.into()]).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((TemplateRow::read(&row)?, row.try_get("", "request_hash")?)))
}

/// Those that are not deleted, newest first, from just after a place in the list.
pub(crate) async fn templates(
    connection: &impl Sql,
    organisation: OrganisationId,
    after: Option<(i64, TemplateId)>,
    limit: i64,
) -> Result<Vec<TemplateRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM templates t
         JOIN template_versions v ON v.template_id = t.template_id AND v.version = t.version
         WHERE t.organisation_id = $1 AND t.deleted_at IS NULL
         AND ($2 IS NULL OR (t.created_at, t.template_id) < ($2, $3))
         ORDER BY t.created_at DESC, t.template_id DESC LIMIT $4"
    );
    let (created, id): (Value, Value) =
        (after.map(|(at, _)| at).into(), after.map(|(_, id)| id.uuid()).into());
    let rows = connection.rows(&sql, [organisation.uuid().into(), created, id, limit.into()]);
    rows.await?.iter().map(TemplateRow::read).collect()
}

/// The versions before one, or all, newest first.
pub(crate) async fn template_versions(
    connection: &impl Sql,
    organisation: OrganisationId,
    id: TemplateId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<TemplateRow>, DbErr> {
    let sql = format!(
        "SELECT {COLUMNS} FROM templates t JOIN template_versions v USING (template_id)
         WHERE t.organisation_id = $1 AND t.template_id = $2 AND v.version < $3
         ORDER BY v.version DESC LIMIT $4"
    );
    let before = before.unwrap_or(i64::MAX);
    let given = [organisation.uuid().into(), id.uuid().into(), before.into(), limit.into()];
    connection.rows(&sql, given).await?.iter().map(TemplateRow::read).collect()
}

/// Answers whether it was new: the same request may just have been carried out elsewhere, or the name
/// is another's.
pub(crate) async fn insert_template(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    row: &TemplateRow,
    request: Option<&Request>,
) -> Result<bool, DbErr> {
    let inserted = tx
        .run(
            "INSERT INTO templates (template_id, organisation_id, name, version, created_at,
                request_id, request_hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            [
                row.id.uuid().into(),
                organisation.uuid().into(),
                row.name.as_str().into(),
                row.version.cast_signed().into(),
                row.created_ms.into(),
                request.map(|request| request.id.clone()).into(),
                request.map(|request| request.body_hash.to_vec()).into(),
            ],
        )
        .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    insert_version(tx, row).await?;
    Ok(true)
}

/// Saves a version of a template that is locked: `row.version` is one above the one that was read.
pub(crate) async fn save_version(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    row: &TemplateRow,
) -> Result<(), DbErr> {
    insert_version(tx, row).await?;
    let sql = "UPDATE templates SET version = $3 WHERE organisation_id = $1 AND template_id = $2";
    let given =
        [organisation.uuid().into(), row.id.uuid().into(), row.version.cast_signed().into()];
    tx.run(sql, given).await.map(|_| ())
}

async fn insert_version(tx: &DatabaseTransaction, row: &TemplateRow) -> Result<(), DbErr> {
    let sql = "INSERT INTO template_versions (template_id, version, document, saved_at)
         VALUES ($1, $2, $3, $4)";
    let given = [
        row.id.uuid().into(),
        row.version.cast_signed().into(),
        row.content.encode_to_vec().into(),
        row.saved_ms.into(),
    ];
    tx.run(sql, given).await.map(|_| ())
}

pub(crate) async fn delete_template(
    tx: &DatabaseTransaction,
    organisation: OrganisationId,
    id: TemplateId,
    now_ms: i64,
) -> Result<(), DbErr> {
    let sql = "UPDATE templates SET deleted_at = $3
         WHERE organisation_id = $1 AND template_id = $2 AND deleted_at IS NULL";
    tx.run(sql, [organisation.uuid().into(), id.uuid().into(), now_ms.into()]).await.map(|_| ())
}

fn named(which: &Which) -> (Value, Value) {
    let (id, name) = match which {
        Which::Id(id) => (Some(id.uuid()), None),
        Which::Name(name) => (None, Some(name.clone())),
    };
    (id.into(), name.into())
}
