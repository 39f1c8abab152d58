//! Secrets of an organisation, of its settings above all, sealed on their way and where they are
//! kept.

use carillon_contracts::{
    events::v1::{OrganisationChanged, SealedSecret},
    ids::OrganisationId,
};
use carillon_sealing::{SealError, Secret, WrappingKey};

pub const SMTP_PASSWORD: &str = "smtp.password";
pub const SMS_TOKEN: &str = "sms.token";
pub const SMS_STANDBY_TOKEN: &str = "sms_standby.token";
/// The number of a customer who replied, on its way to where numbers are looked up.
pub const REPLY_NUMBER: &str = "reply.number";

/// A secret opens only for the organisation and the use that it was sealed for.
fn context(organisation: OrganisationId, name: &str) -> Vec<u8> {
    [organisation.uuid().as_bytes(), name.as_bytes()].concat()
}

pub fn seal_secret(
    key: &WrappingKey,
    organisation: OrganisationId,
    name: &str,
    secret: &[u8],
) -> Result<SealedSecret, SealError> {
    let Secret { key_id, wrapped_key, ciphertext } =
        key.seal_secret(secret, &context(organisation, name))?;
    Ok(SealedSecret { key_id, wrapped_key: wrapped_key.into(), ciphertext: ciphertext.into() })
}

pub fn open_secret(
    key: &WrappingKey,
    organisation: OrganisationId,
    name: &str,
    sealed: &SealedSecret,
) -> Result<Vec<u8>, SealError> {
    let secret = Secret {
        key_id: sealed.key_id.clone(),
        wrapped_key: sealed.wrapped_key.to_vec(),
        ciphertext: sealed.ciphertext.to_vec(),
    };
    key.open_secret(&secret, &context(organisation, name))
}

/// The secret of a setting, if the document has it.
pub fn secret_of(
    key: &WrappingKey,
    organisation: OrganisationId,
    name: &str,
    document: &OrganisationChanged,
) -> Result<Option<Vec<u8>>, SealError> {
    let sealed = document.secrets.get(name);
    sealed.map(|sealed| open_secret(key, organisation, name, sealed)).transpose()
}
