//! The content of a file: texts, or the name of saved ones.

use std::path::PathBuf;

use carillon_contracts::jobs::v1::{Content, EmailContent, SmsContent, TemplateVersion};

use super::{
    Reading, read_text,
    schema::{ContentKeys, EmailKeys},
};

impl Reading<'_> {
    pub(super) fn content(&mut self, keys: ContentKeys) -> Content {
        let sms = self.take("content.sms", keys.sms).map(|sms| SmsContent {
            text: self.take("content.sms.text", sms.text).unwrap_or_default(),
            downgrade: self.take("content.sms.downgrade", sms.downgrade).unwrap_or_default(),
        });
        let email = self.take("content.email", keys.email).map(|email| self.email(email));
        let template = self.take("content.template", keys.template);
        if template.is_some() && (sms.is_some() || email.is_some()) {
            self.refuse(
                "content.template",
                "stands beside sms or email; leave out the one or the other",
            );
        }
        let template = template.and_then(|named| self.template(&named));
        Content { sms, email, template, test: false }
    }

    /// NAME, the newest version; or NAME@VERSION.
    fn template(&mut self, named: &str) -> Option<TemplateVersion> {
        let (name, version) = match named.rsplit_once('@') {
            None => (named, Some(0)),
            Some((name, version)) => (name, version.parse().ok().filter(|version| *version > 0)),
        };
        let Some(version) = version.filter(|_| !name.is_empty()) else {
            let shown = crate::output::printable(named);
            let rule = format!("'{shown}' is not NAME or NAME@VERSION, such as welcome@3");
            self.refuse("content.template", rule);
            return None;
        };
        Some(TemplateVersion { template: name.to_owned(), version, name: String::new() })
    }

    fn email(&mut self, keys: EmailKeys) -> EmailContent {
        let html = self.take("content.email.html", keys.html);
        let html_file = self.take("content.email.html_file", keys.html_file);
        let html = match (html, html_file) {
            (html, None) => html,
            (None, Some(file)) => self.html_file(file),
            (Some(_), Some(_)) => {
                self.refuse("content.email.html_file", "stands beside html; leave one of them out");
                None
            }
        };
        EmailContent {
            subject: self.take("content.email.subject", keys.subject).unwrap_or_default(),
            text: self.take("content.email.text", keys.text).unwrap_or_default(),
            html: html.unwrap_or_default(),
        }
    }

    fn html_file(&mut self, file: PathBuf) -> Option<String> {
        // A fault in the HTML is one of this line too: the server knows it as `html`.
        let line = self.lines.get("content.email.html_file").copied().unwrap_or(1);
        self.lines.insert("content.email.html", line);
        let path = self.folder.join(file);
        match read_text(&path, &format!("'{}'", path.display())) {
            Ok(text) => Some(text),
            Err(error) => {
                self.refuse(
                    "content.email.html_file",
                    format!("{error}; the path is relative to the campaign file"),
                );
                None
            }
        }
    }
}
