//! Templates at send time: a failure is counted and replaced, never a reason not to send.

use gotmpl::Value;
use prometheus::IntCounterVec;

use crate::template::Text;

/// Fills the texts of one integration.
#[derive(Clone)]
pub(crate) struct Renderer {
    kind: &'static str,
    receiver: String,
    /// By integration; absent where a file is only checked.
    failures: Option<IntCounterVec>,
}

impl Renderer {
    pub(crate) fn new(kind: &'static str, receiver: &str, failures: Option<IntCounterVec>) -> Self {
        if let Some(failures) = &failures {
            // So that the series is there before the first failure.
            failures.with_label_values(&[kind]);
        }
        Self { kind, receiver: receiver.to_owned(), failures }
    }

    /// The filled text, or `plain()` where the template fails.
    pub(crate) fn fill(&self, text: &Text, data: &Value, plain: impl FnOnce() -> String) -> String {
        match text.render(data) {
            Ok(filled) => filled,
            Err(error) => {
                if let Some(failures) = &self.failures {
                    failures.with_label_values(&[self.kind]).inc();
                }
                tracing::warn!(
                    integration = self.kind, receiver = %self.receiver, %error,
                    "a template failed; a plain text is sent instead, correct the template"
                );
                plain()
            }
        }
    }
}
