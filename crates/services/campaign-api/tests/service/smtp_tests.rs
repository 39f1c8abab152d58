//! An e-mail dispatcher that tries no settings, and remembers which it was given.

use std::sync::{Arc, Mutex};

use carillon_contracts::{
    campaign::v1::TestSmtpServerResponse,
    dispatch::v1::{
        TestSmtpServerRequest,
        settings_service_server::{SettingsService, SettingsServiceServer},
    },
};
use carillon_service_kit::rpc::{Transport, in_process};
use tonic::{Request, Response, Status, service::Routes};

#[derive(Clone, Default)]
pub struct SmtpTests {
    given: Arc<Mutex<Vec<TestSmtpServerRequest>>>,
    answer: Arc<Mutex<Option<Result<TestSmtpServerResponse, Status>>>>,
}

impl SmtpTests {
    pub fn transport(&self) -> Transport {
        in_process(Routes::new(SettingsServiceServer::new(self.clone())))
    }

    pub fn given(&self) -> Vec<TestSmtpServerRequest> {
        self.given.lock().expect("not poisoned").clone()
    }

    pub fn will_answer(&self, answer: Result<TestSmtpServerResponse, Status>) {
        *self.answer.lock().expect("not poisoned") = Some(answer);
    }
}

#[tonic::async_trait]
impl SettingsService for SmtpTests {
    async fn test_smtp_server(
        &self,
        request: Request<TestSmtpServerRequest>,
    ) -> Result<Response<TestSmtpServerResponse>, Status> {
        self.given.lock().expect("not poisoned").push(request.into_inner());
        let answer = self.answer.lock().expect("not poisoned").clone();
        answer.expect("the test said what is answered").map(Response::new)
    }
}
