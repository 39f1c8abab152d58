//! Alerts: what somebody of an organisation should look at. Other services find it; here it is kept
//! and listed.

use async_trait::async_trait;
use carillon_contracts::{
    campaign::v1::{ListAlertsRequest, ListAlertsResponse},
    events::v1::{BalanceLow, Event, GatewayChanged, event::Body},
    ids::OrganisationId,
};
use carillon_outbox::{Handler, HandlerError};
use carillon_service_kit::{page, status::internal};
use sea_orm::DatabaseTransaction;
use tonic::Status;

use crate::{CampaignApi, store};

pub(crate) struct Alerts(pub CampaignApi);

#[async_trait]
impl Handler for Alerts {
    async fn handle(&self, tx: &DatabaseTransaction, event: &Event) -> Result<(), HandlerError> {
        let (kind, message) = match &event.body {
            Some(Body::BalanceLow(low)) => ("balance_low", low_balance(low)),
            Some(Body::GatewayChanged(changed)) if changed.up => {
                ("gateway_up", format!("the SMS gateway {} works again", changed.gateway))
            }
            Some(Body::GatewayChanged(changed)) => ("gateway_down", gateway_down(changed)),
            _ => return Err(HandlerError::Event("not something to be alerted of".into())),
        };
        let organisation = OrganisationId::from_wire(&event.organisation_id)
            .map_err(|error| HandlerError::Event(error.to_string()))?;
        let now_ms = self.0.clock.now_ms();
        Ok(store::add_alert(tx, organisation, kind, message, now_ms).await?)
    }
}

fn low_balance(low: &BalanceLow) -> String {
    format!(
        "{} credits are available, fewer than {}; add some with `carillon balance credit`, or \
         messages wait",
        low.available, low.low_balance
    )
}

fn gateway_down(changed: &GatewayChanged) -> String {
    let GatewayChanged { gateway, code, has_standby, .. } = changed;
    let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
    let meanwhile = match has_standby {
        true => "messages leave by the organisation's other gateway meanwhile",
        false => {
            "messages are tried again until their deadlines; a standby is set with `carillon org \
             sms --standby`"
        }
    };
    format!("the SMS gateway {gateway} does not work{code}; {meanwhile}")
}

impl CampaignApi {
    pub(crate) async fn list_alerts(
        &self,
        organisation: OrganisationId,
        request: ListAlertsRequest,
    ) -> Result<ListAlertsResponse, Status> {
        let size = page::size(request.page_size)?;
        let before = page::place(&request.page_token, i64::MAX, |token| token.parse().ok())?;
        let mut rows = store::alerts(self.database.reader(), organisation, before, size + 1)
            .await
            .map_err(internal)?;
        let more = page::cut(&mut rows, size);
        let next_page_token =
            rows.last().filter(|_| more).map_or_else(String::new, |(number, _)| number.to_string());
        let alerts = rows.into_iter().map(|(_, alert)| alert).collect();
        Ok(ListAlertsResponse { alerts, next_page_token })
    }
}
