//! Sends a CSV file to the server: rows are read on a thread of their own, several requests are
//! under way at once, and what is refused goes into a file that can be mended and imported again.
//! Memory grows neither with the file nor with the number of rejects.

mod batches;
pub mod columns;
pub(crate) mod rejects;
mod source;

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use carillon_contracts::audience::v1::ImportResponse;
use csv::StringRecord;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

pub use self::source::Source;
use self::{
    batches::{Batch, Batches, Origin},
    rejects::RejectsFile,
};
use crate::{
    client::Client,
    csv_rows::Fault,
    effect,
    error::{Error, is_unreachable},
    output::{self, Format, Look, Out, thousands},
};

/// Requests under way at once.
const IN_FLIGHT: usize = 6;

/// A row is refused before it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub field: &'static str,
    /// A stable snake_case code.
    pub reason: &'static str,
    pub message: String,
}

/// A kind of file that can be imported.
pub trait Importable: Sized + Send + 'static {
    type Row: Send + 'static;
    type Request: Send + 'static;

    /// Reads the header; `file` is for messages.
    fn columns(file: &str, header: &StringRecord) -> Result<Self, Error>;

    /// The columns, by position, that are part of the data: the others are of an earlier rejects file.
    fn data_columns(&self) -> Vec<usize>;

    fn row(&mut self, cells: &StringRecord) -> Result<Self::Row, Refusal>;

    fn request(&self, rows: Vec<Self::Row>) -> Self::Request;

    fn send(
        client: &Client,
        requests: ReceiverStream<Self::Request>,
    ) -> impl Future<Output = Result<Streaming<ImportResponse>, Status>> + Send;
}

/// What became of a file's rows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    pub stored: u64,
    pub unchanged: u64,
    pub rejected: u64,
    pub reasons: BTreeMap<String, u64>,
    /// Where the rejected rows are; `None` without any.
    pub rejects_file: Option<PathBuf>,
    /// Whether dispatchers obey what rows changed of who may be sent to; `None` if none did.
    pub in_effect: Option<bool>,
}

impl Summary {
    pub fn rows(&self) -> u64 {
        self.stored + self.unchanged + self.rejected
    }

    /// `2,357 stored, 0 unchanged, 37 rejected (see FILE)`.
    pub fn sentence(&self) -> String {
        let mut text = format!(
            "{} stored, {} unchanged, {} rejected",
            thousands(self.stored),
            thousands(self.unchanged),
            thousands(self.rejected)
        );
        if let Some(file) = &self.rejects_file {
            text.push_str(&format!(" (see {})", file.display()));
        }
        text
    }

    /// The result on standard output: why rows were rejected, or the whole of it for scripts.
    pub fn write(&self, out: Out<'_>, look: Look) -> Result<(), Error> {
        match look.format {
            Format::Json => output::write_json(
                out,
                &output::Ordered(&[
                    ("stored", json!(self.stored)),
                    ("unchanged", json!(self.unchanged)),
                    ("rejected", json!(self.rejected)),
                    ("reasons", json!(self.reasons)),
                    ("in_effect", json!(self.in_effect)),
                ]),
            )?,
            Format::Csv | Format::Table => {
                if look.format == Format::Table && self.reasons.is_empty() {
                    return Ok(());
                }
                let mut rows = output::rows::Rows::new(out, look, &["reason", "rows"]);
                for (reason, count) in &self.reasons {
                    rows.row(vec![json!(reason), json!(count)])?;
                }
                rows.finish()?;
            }
        }
        Ok(())
    }
}

/// A file whose header has been read and found good.
pub struct Import<I> {
    batches: Batches<I>,
    rejects: RejectsFile,
    file: String,
    size: Option<u64>,
}

impl<I: Importable> Import<I> {
    /// Reads the header. Rejected rows go to `rejects`; beside the source, unless it is given.
    pub fn open(source: Source, rejects: Option<&Path>) -> Result<Self, Error> {
        let rejects = source.rejects_file(rejects)?;
        let (file, size) = (source.name.clone(), source.size);
        let batches = Batches::<I>::open(source)?;
        let rejects = RejectsFile::new(rejects, batches.data_header(), batches.delimiter());
        Ok(Self { batches, rejects, file, size })
    }

    /// A bar of bytes, rows and rejects for this file; on standard error, and hidden where that is
    /// no terminal.
    pub fn progress_bar(&self) -> ProgressBar {
        let (bar, template) = match self.size {
            Some(size) => (
                ProgressBar::new(size),
                "{bytes:>10} of {total_bytes} [{wide_bar}] {msg}  {eta} left",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {bytes:>10}  {msg}"),
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style.progress_chars("━╸─"));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Sends every row. `bar` may be hidden. After an error the rows answered so far are stored;
    /// importing the file again is safe.
    pub async fn run(self, client: &Client, bar: &ProgressBar) -> Result<Summary, Error> {
        let Self { batches, rejects, file, .. } = self;
        let (batch_tx, batch_rx) = mpsc::channel(2);
        let reader = tokio::task::spawn_blocking(move || batches.read(&batch_tx));
        let (request_tx, request_rx) = mpsc::channel(1);
        let (sent_tx, sent_rx) = mpsc::channel(IN_FLIGHT);
        let feeder = tokio::spawn(feed::<I>(batch_rx, request_tx, sent_tx));
        let mut ledger = Ledger::new(rejects, bar.clone());
        let answered = settle::<I>(client, request_rx, sent_rx, &mut ledger).await;
        bar.finish_and_clear();
        feeder.abort();
        if let Err(error) = answered {
            return Err(stopped(&file, &ledger, error));
        }
        let read = reader.await.map_err(|_| Error::failed(format!("{file}: reading broke off")))?;
        read.map_err(|error| stopped(&file, &ledger, error))?;
        ledger.finish()
    }
}

/// Adds how far it came and what to do. Not where nothing was kept because of the key, the address or
/// the rejects file: those say what to do themselves, and the same import would fail again.
fn stopped(file: &str, ledger: &Ledger, error: Error) -> Error {
    let kept = ledger.summary.stored + ledger.summary.unchanged;
    if kept == 0 && (ledger.rejects_failed || is_key_or_address(&error)) {
        return error;
    }
    Error::failed(format!(
        "{error}\n{file}: the import stopped after {} rows were stored; import the file again, what is stored already counts as unchanged",
        thousands(kept)
    ))
}

fn is_key_or_address(error: &Error) -> bool {
    let Error::Rpc(status) = error else { return false };
    matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented)
        || is_unreachable(status)
}

/// A batch that was sent, or has nothing to send, and its place among those under way.
struct Sent {
    batch: Origin,
    requested: bool,
    _place: OwnedSemaphorePermit,
}

async fn feed<I: Importable>(
    mut batches: mpsc::Receiver<Batch<I::Request>>,
    requests: mpsc::Sender<I::Request>,
    sent: mpsc::Sender<Sent>,
) {
    let places = std::sync::Arc::new(Semaphore::new(IN_FLIGHT));
    while let Some(Batch { request, origin }) = batches.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let entry = Sent { batch: origin, requested: request.is_some(), _place: place };
        if sent.send(entry).await.is_err() {
            return;
        }
        if let Some(request) = request
            && requests.send(request).await.is_err()
        {
            return;
        }
    }
}

/// Takes the answers, which come in the order of the requests.
async fn settle<I: Importable>(
    client: &Client,
    requests: mpsc::Receiver<I::Request>,
    mut sent: mpsc::Receiver<Sent>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let mut answers = I::send(client, ReceiverStream::new(requests)).await?;
    while let Some(Sent { batch, requested, _place }) = sent.recv().await {
        let answer = if requested {
            answers.message().await?.ok_or_else(|| {
                Error::failed("the server ended the import before it had answered every row")
            })?
        } else {
            ImportResponse::default()
        };
        ledger.enter(batch, answer)?;
    }
    // The requests have ended, so the server closes its side; a late refusal shows here.
    while answers.message().await?.is_some() {}
    Ok(())
}

/// Counts answers, and writes rejects in the order of the file.
struct Ledger {
    summary: Summary,
    rejects: RejectsFile,
    rejects_failed: bool,
    bar: ProgressBar,
}

impl Ledger {
    fn new(rejects: RejectsFile, bar: ProgressBar) -> Self {
        Self { summary: Summary::default(), rejects, rejects_failed: false, bar }
    }

    fn enter(&mut self, batch: Origin, answer: ImportResponse) -> Result<(), Error> {
        self.summary.stored += u64::from(answer.stored);
        self.summary.unchanged += u64::from(answer.unchanged);
        if let Some(in_effect) = answer.in_effect {
            self.summary.in_effect = Some(in_effect && self.summary.in_effect != Some(false));
        }
        let mut faults = batch.faults;
        let sent = batch.rows.len();
        let mut rows: Vec<Option<_>> = batch.rows.into_iter().map(Some).collect();
        for reject in answer.rejects {
            let index = usize::try_from(reject.index).unwrap_or(usize::MAX);
            let Some(row) = rows.get_mut(index) else {
                return Err(Error::failed(format!(
                    "the server rejected row {index} of a request of {sent} rows: it is of another version"
                )));
            };
            // The first reason counts where a row is named twice.
            let Some((line, cells)) = row.take() else { continue };
            let (field, reason, message) = (reject.field, reject.reason, reject.message);
            faults.push(Fault { line, lines: 1, field, reason, message, cells });
        }
        faults.sort_by_key(|fault| fault.line);
        for fault in faults {
            self.summary.rejected += 1;
            self.rejects.write(&fault).inspect_err(|_| self.rejects_failed = true)?;
            *self.summary.reasons.entry(fault.reason).or_default() += 1;
        }
        self.show(batch.bytes);
        Ok(())
    }

    fn show(&self, bytes: u64) {
        self.bar.set_position(bytes);
        let seconds = self.bar.elapsed().as_secs_f64().max(0.001);
        let rows = self.summary.rows();
        self.bar.set_message(format!(
            "{} rows, {} rejected, {} rows/s",
            thousands(rows),
            thousands(self.summary.rejected),
            thousands((rows as f64 / seconds) as u64)
        ));
    }

    fn finish(mut self) -> Result<Summary, Error> {
        self.summary.rejects_file = self.rejects.finish()?;
        Ok(self.summary)
    }
}

/// The ending that every import command has: summary, result, and the exit code of `--strict`.
pub fn conclude(
    out: Out<'_>,
    look: Look,
    file: &str,
    summary: &Summary,
    strict: bool,
) -> Result<(), Error> {
    if summary.rows() == 0 {
        note!("{file}: only a header, there are no rows to import");
    }
    note!("{}", summary.sentence());
    effect::tell(summary.in_effect);
    summary.write(out, look)?;
    if strict && summary.rejected > 0 {
        return Err(Error::failed(format!(
            "{file}: {} rows were rejected, and --strict allows none; the others are stored",
            thousands(summary.rejected)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
