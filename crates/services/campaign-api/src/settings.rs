//! How an organisation's messages leave: its SMTP server and its SMS gateway. Secrets are sealed
//! before they are stored, and never shown again.

use std::time::Duration;

use carillon_audit::acts;
use carillon_contracts::{
    campaign::v1::{
        Organisation, SetSmsGatewayRequest, SetSmtpServerRequest, TestSmtpServerRequest,
        TestSmtpServerResponse,
    },
    dispatch::v1::{self as dispatch, settings_service_client::SettingsServiceClient},
    ids::OrganisationId,
};
use carillon_service_kit::status::{
    FieldError, internal, invalid, invalid_fields, refused, unavailable,
};
use carillon_tenancy::{Caller, SMS_STANDBY_TOKEN, SMS_TOKEN, SMTP_PASSWORD, seal_secret};
use sea_orm::{DatabaseTransaction, DbErr};
use tonic::{Code, Request, Status};

use crate::{
    CampaignApi,
    domain::{
        address::is_mailbox,
        audited,
        sms::{self, TokenUse},
        smtp,
    },
    grpc::no_organisation,
    store::{self, OrganisationRow},
};

const LONGEST_SECRET: usize = 1_024;
const UNUSED: &str =
    "is used by nothing; write {token} where it belongs in sms.http, or leave it out";
/// Connecting, TLS, AUTH and two commands, each with a time of its own.
const TEST_WITHIN: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(2);

/// What becomes of a setting's secret.
enum Secret<'a> {
    Keep,
    Drop,
    Set(&'a str),
}

impl CampaignApi {
    pub(crate) async fn set_smtp_server(
        &self,
        caller: &Caller,
        request: SetSmtpServerRequest,
    ) -> Result<Organisation, Status> {
        let SetSmtpServerRequest { smtp: given, password } = request;
        let given = given
            .ok_or_else(|| invalid("smtp", "is missing; give at least smtp.host and smtp.from"))?;
        let smtp = smtp::checked(given).map_err(invalid_fields)?;
        if let Some(password) = &password {
            check_secret("password", password)?;
        }
        self.change_settings(caller, acts::SMTP_SERVER_SET, SMTP_PASSWORD, |current, has_secret| {
            let before = current.smtp.as_ref();
            let same = has_secret && before.is_some_and(|one| smtp::same_login(one, &smtp));
            let secret = match (smtp.user.is_empty(), password.as_deref()) {
                (true, None) => Secret::Drop,
                (true, Some(_)) => {
                    let rule = "is missing beside a password; give the user whose it is";
                    return Err(FieldError::new("smtp.user", rule));
                }
                (false, Some(password)) => Secret::Set(password),
                (false, None) if same => Secret::Keep,
                (false, None) => {
                    return Err(missing("password", "server, port, user or security", has_secret));
                }
            };
            current.smtp = Some(smtp.clone());
            Ok(secret)
        })
        .await
    }

    pub(crate) async fn set_sms_gateway(
        &self,
        caller: &Caller,
        request: SetSmsGatewayRequest,
    ) -> Result<Organisation, Status> {
        let SetSmsGatewayRequest { sms: given, token, standby } = request;
        let Some(given) = given else {
            return match (standby, token) {
                (true, None) => self.remove_sms_standby(caller).await,
                (true, Some(_)) => Err(invalid("token", UNUSED)),
                (false, _) => {
                    Err(invalid("sms", "is missing; give at least its kind and sms.from"))
                }
            };
        };
        let sms = sms::checked(given).map_err(invalid_fields)?;
        if let Some(token) = &token {
            check_secret("token", token)?;
            if let Some(wrong) = sms::wrong_token(&sms, token) {
                return Err(invalid_fields(vec![wrong]));
            }
        }
        let name = if standby { SMS_STANDBY_TOKEN } else { SMS_TOKEN };
        self.change_settings(caller, acts::SMS_GATEWAY_SET, name, |current, has_secret| {
            let (changed, other) = match standby {
                false => (&mut current.sms, &current.sms_standby),
                true => (&mut current.sms_standby, &current.sms),
            };
            if standby && other.is_none() {
                let rule = "has nothing to stand by for; set the gateway itself first";
                return Err(FieldError::new("standby", rule));
            }
            if other.as_ref().is_some_and(|other| sms::same_gateway(other, &sms)) {
                let rule = "is the gateway and its standby at once; give another one, or remove \
                            the standby first";
                return Err(FieldError::new("sms", rule));
            }
            let before = changed.as_ref();
            let same = has_secret && before.is_some_and(|one| sms::same_login(one, &sms));
            let secret = match (sms::token_use(&sms), token.as_deref()) {
                (TokenUse::Unused, None) => Secret::Drop,
                (TokenUse::Unused, Some(_)) => return Err(FieldError::new("token", UNUSED)),
                (TokenUse::Needed, Some(token)) => Secret::Set(token),
                (TokenUse::Needed, None) if same => Secret::Keep,
                (TokenUse::Needed, None) => {
                    return Err(missing("token", "provider or account", has_secret));
                }
            };
            *changed = Some(sms.clone());
            Ok(secret)
        })
        .await
    }

    async fn remove_sms_standby(&self, caller: &Caller) -> Result<Organisation, Status> {
        let act = acts::SMS_GATEWAY_SET;
        self.change_settings(caller, act, SMS_STANDBY_TOKEN, |current, has_secret| {
            current.sms_standby = None;
            Ok(if has_secret { Secret::Drop } else { Secret::Keep })
        })
        .await
    }

    /// Changes the organisation and one of its secrets, and waits until every service knows.
    async fn change_settings<'s>(
        &self,
        caller: &Caller,
        act: &'static str,
        name: &str,
        change: impl FnOnce(&mut Organisation, bool) -> Result<Secret<'s>, FieldError>,
    ) -> Result<Organisation, Status> {
        let id = caller.organisation;
        let tx = self.database.begin().await.map_err(internal)?;
        let row = store::locked_organisation(&tx, id).await.map_err(internal)?;
        let mut row = row.ok_or_else(|| no_organisation(id))?;
        let secrets = store::secrets(&tx, id).await.map_err(internal)?;
        let before = row.organisation.clone();
        let had = secrets.contains_key(name);
        let secret = change(&mut row.organisation, had)?;
        if before == row.organisation && matches!(secret, Secret::Keep) {
            drop(tx);
            return Ok(self.answered(row).await);
        }
        let (is, is_another) = match &secret {
            Secret::Keep => (had, false),
            Secret::Drop => (false, true),
            Secret::Set(_) => (true, true),
        };
        let changed = audited::settings_changed(&before, &row.organisation);
        let changed = changed.with_secret(name, had, is, is_another);
        match secret {
            Secret::Keep => {}
            Secret::Drop => store::drop_secret(&tx, id, name).await.map_err(internal)?,
            Secret::Set(secret) => {
                let sealed = seal_secret(&self.wrapping_key, id, name, secret.as_bytes());
                let sealed = sealed.map_err(internal)?;
                store::save_secret(&tx, id, name, &sealed).await.map_err(internal)?;
            }
        }
        let row = self.store_changed(&tx, row).await.map_err(internal)?;
        self.record(&tx, caller, act, "organisation".to_owned(), changed)
            .await
            .map_err(internal)?;
        tx.commit().await.map_err(internal)?;
        Ok(self.answered(row).await)
    }

    /// Stores the organisation under its next version, and tells of it.
    pub(crate) async fn store_changed(
        &self,
        tx: &DatabaseTransaction,
        row: OrganisationRow,
    ) -> Result<OrganisationRow, DbErr> {
        let row = OrganisationRow { version: row.version + 1, ..row };
        store::save_settings(tx, &row).await?;
        let told = Some(self.tell_changed(tx, &row).await?);
        Ok(OrganisationRow { told, ..row })
    }

    /// The organisation, and whether every service knows what was last changed of it.
    pub(crate) async fn answered(&self, row: OrganisationRow) -> Organisation {
        let in_effect = Some(self.in_effect(row.told).await);
        Organisation { in_effect, ..row.organisation }
    }

    /// A dispatcher tries the settings that are stored.
    pub(crate) async fn test_smtp_server(
        &self,
        organisation: OrganisationId,
        request: TestSmtpServerRequest,
    ) -> Result<TestSmtpServerResponse, Status> {
        let TestSmtpServerRequest { to } = request;
        if !to.is_empty() && !is_mailbox(&to) {
            let rule = "is not an e-mail address; give one such as you@cafe.example, or none";
            return Err(invalid("to", rule));
        }
        let snapshot = self.database.snapshot().await.map_err(internal)?;
        let row = store::organisation(&snapshot, organisation).await.map_err(internal)?;
        let row = row.ok_or_else(|| no_organisation(organisation))?;
        let mut secrets = store::secrets(&snapshot, organisation).await.map_err(internal)?;
        snapshot.commit().await.map_err(internal)?;
        let Some(smtp) = row.organisation.smtp else {
            return Err(refused(
                "NO_SMTP_SERVER",
                "smtp: the organisation has no SMTP server to test; set one with `carillon org \
                 smtp --host H --from A`",
            ));
        };
        let mut request = Request::new(dispatch::TestSmtpServerRequest {
            organisation_id: organisation.uuid().as_bytes().to_vec(),
            smtp: Some(smtp),
            password: secrets.remove(SMTP_PASSWORD),
            to,
        });
        request.set_timeout(TEST_WITHIN);
        let mut dispatcher = SettingsServiceClient::new(self.email_dispatcher.clone());
        let answer = tokio::time::timeout(TEST_WITHIN, dispatcher.test_smtp_server(request));
        match answer.await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) if status.code() == Code::InvalidArgument => Err(status),
            Ok(Err(status)) => {
                tracing::warn!(code = ?status.code(), message = status.message(), "the e-mail dispatcher did not test settings");
                Err(not_now())
            }
            Err(_) => Err(not_now()),
        }
    }
}

fn not_now() -> Status {
    unavailable("settings can't be tested at the moment; try again in a few seconds", RETRY)
}

fn missing(field: &str, bound_to: &str, has_secret: bool) -> FieldError {
    let rule = if has_secret {
        format!("is not kept for another {bound_to}; give it again")
    } else {
        "is missing; give it once, it is kept sealed and never shown".to_owned()
    };
    FieldError::new(field, rule)
}

fn check_secret(field: &str, secret: &str) -> Result<(), Status> {
    let rule = if secret.is_empty() {
        "is empty; give the secret itself, or leave the field out to keep the one that is set"
    } else if secret.len() > LONGEST_SECRET {
        "has more than 1,024 bytes; give the secret alone"
    } else if secret.chars().any(char::is_control) {
        "has a line break or another control character; give the secret alone"
    } else {
        return Ok(());
    };
    Err(invalid(field, rule))
}
