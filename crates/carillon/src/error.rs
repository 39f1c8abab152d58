//! What the user is told when something is refused or fails, and the exit code.

use std::{error::Error as _, fmt, io};

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::output::printable_lines;

#[derive(Debug)]
pub enum Error {
    /// The command line can't be carried out as it stands: exit code 2.
    Usage(String),
    /// Refused or failed: exit code 1.
    Failed(String),
    /// The server refused, or could not be reached: exit code 1.
    Rpc(Box<Status>),
    /// The result could not be written.
    Output(io::Error),
}

impl Error {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Failed(_) | Self::Rpc(_) | Self::Output(_) => 1,
        }
    }

    /// A reader that has seen enough, such as `head`, is no error.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Failed(message) => f.write_str(&printable_lines(message)),
            Self::Rpc(status) => f.write_str(&explain(status)),
            Self::Output(error) => write!(f, "the result could not be written: {error}"),
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Rpc(Box::new(status))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// The wrong fields that a refusal names, as (field, description).
pub fn violations(status: &Status) -> Vec<(String, String)> {
    status.get_details_bad_request().map_or_else(Vec::new, |bad| {
        bad.field_violations.into_iter().map(|wrong| (wrong.field, wrong.description)).collect()
    })
}

/// True where no answer of the server came back at all.
pub fn is_unreachable(status: &Status) -> bool {
    status.source().is_some() && matches!(status.code(), Code::Unavailable | Code::Unknown)
}

fn explain(status: &Status) -> String {
    let wrong = violations(status);
    let mut text = if !wrong.is_empty() {
        let lines: Vec<String> =
            wrong.iter().map(|(field, why)| format!("{field}: {why}")).collect();
        lines.join("\n")
    } else if is_unreachable(status) {
        "the connection to the server was lost before it answered; try again, the request may have been carried out"
            .to_owned()
    } else if status.code() == Code::Unimplemented {
        "the server does not know this call: is it of the same version as this command?".to_owned()
    } else if status.message().is_empty() {
        format!("the server answered: {}", status.code().description())
    } else {
        status.message().to_owned()
    };
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
    if let Some(wait) = wait {
        text.push_str(&format!(" (try again in {} s)", wait.as_secs_f64().ceil()));
    }
    printable_lines(&text)
}

#[cfg(test)]
mod tests {
    use carillon_service_kit::status::{FieldError, invalid_fields, refused, unavailable};

    use super::*;

    #[test]
    fn every_violation_has_a_line_of_its_own() {
        let status = invalid_fields(vec![
            FieldError::new("name", "is empty; give 1 to 100 characters"),
            FieldError::new("content.sms.text", "'{Nam}' is unknown; did you mean {FirstName}?"),
        ]);
        let text = Error::from(status).to_string();
        assert_eq!(
            text,
            "name: is empty; give 1 to 100 characters\n\
             content.sms.text: '{Nam}' is unknown; did you mean {FirstName}?"
        );
    }

    #[test]
    fn a_refusal_is_its_message_and_nothing_of_rust() {
        let text = Error::from(refused("INACTIVE", "the campaign is not active")).to_string();
        assert_eq!(text, "the campaign is not active");
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        let status = unavailable("starting up", std::time::Duration::from_millis(1500));
        assert_eq!(Error::from(status).to_string(), "starting up (try again in 2 s)");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit_code(), error.is_silent()), (0, true));
    }

    #[test]
    fn usage_is_2_and_failure_is_1() {
        assert_eq!(Error::usage("x").exit_code(), 2);
        assert_eq!(Error::failed("x").exit_code(), 1);
    }
}
