use std::{fs, sync::Arc};

use carillon_contracts::audience::v1::{
    ConfirmSubscriptionRequest, CountCustomersRequest, CountCustomersResponse, Customer,
    GetCustomerRequest, ImportCustomersRequest, ListCustomersRequest, ListCustomersResponse,
    Reject, SetBlacklistedRequest, SetSubscriptionRequest, SetSubscriptionResponse,
    UpdateCustomerRequest,
    customer_service_server::{CustomerService, CustomerServiceServer},
};
use tokio::sync::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response};

use super::*;
use crate::customers::import::Customers;

/// Stores what it is sent, and rejects ids that begin with `BAD`.
#[derive(Clone, Default)]
struct Server {
    stored: Arc<Mutex<Vec<Customer>>>,
    largest: Arc<Mutex<usize>>,
    masks: Arc<Mutex<Vec<Vec<String>>>>,
    /// Fails once so many requests were answered.
    fail_after: Option<usize>,
    /// Knows another key.
    locked: bool,
}

type Answer<T> = Result<Response<T>, Status>;

fn unused<T>() -> Answer<T> {
    Err(Status::unimplemented("not in this test"))
}

#[tonic::async_trait]
impl CustomerService for Server {
    type ImportCustomersStream = ReceiverStream<Result<ImportResponse, Status>>;

    async fn import_customers(
        &self,
        request: Request<Streaming<ImportCustomersRequest>>,
    ) -> Answer<Self::ImportCustomersStream> {
        assert_eq!(request.metadata().get("authorization").expect("a key"), "Bearer key");
        if self.locked {
            return Err(Status::unauthenticated("api-key: unknown or revoked"));
        }
        let (server, mut requests) = (self.clone(), request.into_inner());
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut answered = 0;
            while let Ok(Some(request)) = requests.message().await {
                let answer = if server.fail_after == Some(answered) {
                    Err(Status::unavailable("the database is away"))
                } else {
                    Ok(server.store(request).await)
                };
                answered += 1;
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn update_customer(&self, _: Request<UpdateCustomerRequest>) -> Answer<Customer> {
        unused()
    }
    async fn get_customer(&self, _: Request<GetCustomerRequest>) -> Answer<Customer> {
        unused()
    }
    async fn list_customers(
        &self,
        _: Request<ListCustomersRequest>,
    ) -> Answer<ListCustomersResponse> {
        unused()
    }
    async fn count_customers(
        &self,
        _: Request<CountCustomersRequest>,
    ) -> Answer<CountCustomersResponse> {
        unused()
    }
    async fn set_subscription(
        &self,
        _: Request<SetSubscriptionRequest>,
    ) -> Answer<SetSubscriptionResponse> {
        unused()
    }
    async fn confirm_subscription(
        &self,
        _: Request<ConfirmSubscriptionRequest>,
    ) -> Answer<Customer> {
        unused()
    }
    async fn set_blacklisted(&self, _: Request<SetBlacklistedRequest>) -> Answer<Customer> {
        unused()
    }
}

impl Server {
    async fn store(&self, request: ImportCustomersRequest) -> ImportResponse {
        let mut answer = ImportResponse::default();
        let mut largest = self.largest.lock().await;
        *largest = (*largest).max(request.customers.len());
        self.masks.lock().await.push(request.update_mask.unwrap_or_default().paths);
        for (index, customer) in (0..).zip(request.customers) {
            if customer.external_id.starts_with("BAD") {
                let (field, reason) = ("external_id".to_owned(), "bad".to_owned());
                answer.rejects.push(Reject { index, field, reason, message: "is bad".to_owned() });
            } else {
                answer.stored += 1;
                self.stored.lock().await.push(customer);
            }
        }
        answer
    }

    async fn client(&self) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let service = CustomerServiceServer::new(self.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Client::connect(&address.to_string(), Some("key")).await.expect("connected")
    }
}

async fn import(server: &Server, text: &str, rejects: &Path) -> Result<Summary, Error> {
    let source = Source::bytes("test.csv", text.as_bytes().to_vec());
    let import = Import::<Customers>::open(source, Some(rejects))?;
    import.run(&server.client().await, &ProgressBar::hidden()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn good_rows_are_stored_and_bad_ones_are_in_the_rejects_file_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let rejects = folder.path().join("rejects.csv");
    let text = "external_id;points;last_name\n\
        C1;1;=cmd()\nBAD-1;1;=x\nC2;many;Doe\nC3;1\nC1;2;Doe\nBAD-2;1;\"a;b\"\nC4;4;Roe\n";
    let server = Server::default();
    let summary = import(&server, text, &rejects).await.expect("imported");

    assert_eq!((summary.stored, summary.unchanged, summary.rejected), (2, 0, 5));
    assert_eq!(summary.reasons["bad"], 2);
    assert!(summary.sentence().starts_with("2 stored, 0 unchanged, 5 rejected (see "));
    let stored = server.stored.lock().await;
    let ids: Vec<&str> = stored.iter().map(|customer| customer.external_id.as_str()).collect();
    assert_eq!(ids, ["C1", "C4"]);
    assert_eq!(stored[0].last_name, "=cmd()");
    assert_eq!(server.masks.lock().await[0], ["external_id", "points", "last_name"]);

    let written = fs::read_to_string(&rejects).expect("a rejects file");
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(
        lines[0],
        "external_id;points;last_name;reject_line;reject_field;reject_reason;reject_message"
    );
    assert_eq!(lines[1], "BAD-1;1;'=x;3;external_id;bad;is bad");
    assert!(lines[2].starts_with("C2;many;Doe;4;points;points_not_a_number;"), "{written}");
    assert!(lines[3].starts_with("C3;1;;5;;wrong_column_count;"), "{written}");
    assert!(lines[4].starts_with("C1;2;Doe;6;external_id;duplicate_in_file;"), "{written}");
    assert!(lines[5].starts_with("BAD-2;1;\"a;b\";7;external_id;bad;"), "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_rejects_file_is_imported_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let rejects = folder.path().join("rejects.csv");
    let server = Server::default();
    let text = "external_id,points,last_name\nC1,many,'=cmd()\n";
    import(&server, text, &rejects).await.expect("imported");
    let mended = fs::read_to_string(&rejects).expect("a rejects file").replace("many", "7");
    let again = folder.path().join("again.csv");
    let summary = import(&server, &mended, &again).await.expect("imported");
    assert_eq!((summary.stored, summary.rejected, summary.rejects_file), (1, 0, None));
    let stored = server.stored.lock().await;
    assert_eq!((stored[0].points, stored[0].last_name.as_str()), (7, "=cmd()"));
    assert!(!again.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_go_in_requests_of_five_hundred() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = "external_id\n".to_owned();
    for number in 0..20_000 {
        text.push_str(&format!("C{number}\n"));
    }
    let server = Server::default();
    let summary = import(&server, &text, &folder.path().join("r.csv")).await.expect("imported");
    assert_eq!((summary.stored, summary.rows()), (20_000, 20_000));
    assert_eq!(*server.largest.lock().await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_nothing_but_rejects_ends_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let rejects = folder.path().join("r.csv");
    let text = format!("external_id,points\n{}", "C1\n".repeat(5_000));
    let summary = import(&Server::default(), &text, &rejects).await.expect("imported");
    assert_eq!((summary.rejected, summary.reasons["wrong_column_count"]), (5_000, 5_000));
    assert_eq!(fs::read_to_string(&rejects).expect("rejects").lines().count(), 5_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_breaks_off_says_so_and_leaves_no_half_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = "external_id\n".to_owned();
    for number in 0..5_000 {
        text.push_str(&format!("BAD{number}\nC{number}\n"));
    }
    let server = Server { fail_after: Some(2), ..Server::default() };
    let error = import(&server, &text, &folder.path().join("r.csv")).await.expect_err("broken");
    let error = error.to_string();
    assert!(error.contains("the database is away"), "{error}");
    assert!(error.contains("stopped after 500 rows were stored"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_told_without_the_advice_to_import_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server { locked: true, ..Server::default() };
    let error = import(&server, "external_id\nC1\n", &folder.path().join("r.csv")).await;
    assert_eq!(error.expect_err("refused").to_string(), "api-key: unknown or revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejects_file_that_cannot_be_written_gives_advice_only_where_rows_were_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let rejects = folder.path().join("r.csv");
    // Something stands where it would be written.
    fs::create_dir(&rejects).expect("a folder");
    for (text, advised) in [("external_id\nBAD\n", false), ("external_id\nC1\nBAD\n", true)] {
        let error = import(&Server::default(), text, &rejects).await.expect_err("unwritable");
        let error = error.to_string();
        assert!(error.starts_with("--rejects: "), "{error}");
        assert_eq!(error.contains("stopped after 1 rows were stored"), advised, "{error}");
        assert_eq!(error.contains("import the file again"), advised, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejects_file_in_no_folder_is_refused_before_anything_is_stored() {
    let folder = tempfile::tempdir().expect("a folder");
    let rejects = folder.path().join("missing").join("r.csv");
    let server = Server::default();
    let error = import(&server, "external_id\nC1\n", &rejects).await.expect_err("refused");
    assert!(error.to_string().contains("lies in a folder that is not there"), "{error}");
    assert!(server.stored.lock().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_rejects_of_an_earlier_import_are_replaced_or_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (good, bad) = ("external_id\nC1\n", "external_id\nBAD\n");
    let notes = folder.path().join("notes.txt");
    fs::write(&notes, "mine").expect("written");
    let server = Server::default();
    for text in [good, bad] {
        let error = import(&server, text, &notes).await.expect_err("refused").to_string();
        assert!(error.ends_with("name another, or remove it"), "{error}");
    }
    assert_eq!(fs::read(&notes).expect("there"), b"mine");
    assert!(server.stored.lock().await.is_empty());

    let nowhere = folder.path().join("nowhere");
    std::os::unix::fs::symlink("/dev/null", &nowhere).expect("a link");
    for text in [good, bad] {
        import(&server, text, &nowhere).await.expect("imported");
        assert!(fs::symlink_metadata(&nowhere).expect("there").is_symlink());
    }

    let rejects = folder.path().join("r.csv");
    import(&server, bad, &rejects).await.expect("imported");
    import(&server, good, &rejects).await.expect("imported");
    assert!(!rejects.exists(), "they would be taken for this one's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_quotes_that_never_close_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let rejects = folder.path().join("r.csv");
    // Each line opens a quote at its end, whether it begins inside quotes or not.
    let file = |lines: usize| {
        let mut text = "external_id,first_name,last_name\nC1,Ann,Roe\n".to_owned();
        text.push_str(&"C2,\"Ann\",\"\n".repeat(lines));
        text
    };
    let server = Server::default();
    let summary = import(&server, &file(9_999), &rejects).await.expect("imported");
    assert_eq!((summary.stored, summary.reasons["unclosed_quote"]), (1, 9_999));
    fs::remove_file(&rejects).expect("removed");

    let error = import(&server, &file(200_000), &rejects).await.expect_err("given up").to_string();
    assert!(error.contains("10,000th line with a quote that never closes"), "{error}");
    assert!(error.contains("stopped after 1 rows were stored"), "{error}");
    assert_eq!(server.stored.lock().await.len(), 2);
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_command_itself_finds_in_the_examples_is_what_they_expect() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let text = fs::read_to_string(examples.join("customers.csv")).expect("readable");
    let expected = fs::read_to_string(examples.join("expected_rejects.csv")).expect("readable");
    let folder = tempfile::tempdir().expect("a folder");
    let rejects = folder.path().join("r.csv");
    let server = Server::default();
    let summary = import(&server, &text, &rejects).await.expect("imported");
    assert_eq!(summary.rows(), 2_357 + 37);
    let mut reader = csv::Reader::from_path(&rejects).expect("readable");
    let header = reader.headers().expect("a header").clone();
    let column = |name: &str| header.iter().position(|known| known == name).expect("a column");
    let (line, reason) = (column("reject_line"), column("reject_reason"));
    for reject in reader.records().map(|reject| reject.expect("a record")) {
        let row = format!(",{},{}\n", &reject[line], &reject[reason]);
        assert!(expected.contains(&row), "{row} is not expected");
    }
    for reason in [
        "duplicate_in_file",
        "points_not_a_number",
        "favourite_not_boolean",
        "consent_unknown",
        "subscribe_sms_not_boolean",
        "subscribe_email_not_boolean",
        "wrong_column_count",
    ] {
        assert_eq!(summary.reasons.get(reason), Some(&1), "{reason}");
    }
}
