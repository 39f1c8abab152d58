use crate::{Escape, Template, TemplateError, Values, Variable};

use super::downgraded;

/// A campaign's SMS text. Whoever counts, shows or sends it renders it here, so that all see the
/// same.
#[derive(Debug, Clone)]
pub struct SmsText {
    template: Template,
    downgrade: bool,
}

impl SmsText {
    /// With `downgrade`, look-alikes of GSM characters become those, where that spares UCS-2.
    pub fn parse(source: &str, downgrade: bool) -> Result<Self, TemplateError> {
        Ok(Self { template: Template::parse(source)?, downgrade })
    }

    pub fn template(&self) -> &Template {
        &self.template
    }

    pub fn uses(&self, variable: &Variable) -> bool {
        self.template.variables().contains(variable)
    }

    /// Overwrites `text` with what one recipient gets.
    pub fn render_into(&self, text: &mut String, values: &impl Values) {
        text.clear();
        self.template.render_into(text, values, Escape::None);
        if self.downgrade
            && let Some(plain) = downgraded(text)
        {
            *text = plain;
        }
    }

    pub fn render(&self, values: &impl Values) -> String {
        let mut text = String::new();
        self.render_into(&mut text, values);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Named(&'static str);

    impl Values for Named {
        fn value(&self, _: &Variable) -> Option<&str> {
            Some(self.0)
        }
    }

    #[test]
    fn look_alikes_of_values_are_downgraded_too_if_asked() {
        let text = |downgrade| SmsText::parse("Hi {UserName}…", downgrade).expect("valid");
        assert_eq!(text(false).render(&Named("Zoë")), "Hi Zoë…");
        assert_eq!(text(true).render(&Named("Zoë")), "Hi Zoe...");
        assert_eq!(text(true).render(&Named("王芳")), "Hi 王芳…");
    }
}
