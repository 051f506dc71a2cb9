//! What the router sees of a channel.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::Notification;

/// Why a notification was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Another attempt may succeed.
    #[error("{reason}")]
    Retry {
        /// Not before this time has passed; the service, or our own limit, says so.
        after: Option<Duration>,
        /// What happened, without secrets.
        reason: String,
    },
    /// The same attempt would fail again: a matter of configuration, recipient or quota.
    #[error("{reason}")]
    Permanent {
        /// What happened and what to do, without secrets.
        reason: String,
    },
}

/// A secret's file may be on its way: another attempt may find it.
impl From<config::SecretError> for SendError {
    fn from(error: config::SecretError) -> Self {
        Self::retry(error.to_string())
    }
}

impl SendError {
    pub(crate) fn retry(reason: impl Into<String>) -> Self {
        Self::Retry { after: None, reason: reason.into() }
    }

    pub(crate) fn retry_after(after: Duration, reason: impl Into<String>) -> Self {
        Self::Retry { after: Some(after), reason: reason.into() }
    }

    pub(crate) fn permanent(reason: impl Into<String>) -> Self {
        Self::Permanent { reason: reason.into() }
    }
}

/// One entry of a receiver's `*_configs`: a channel that delivers notifications.
#[async_trait]
pub trait Integration: Send + Sync {
    /// `webhook`, `email`, `dingtalk` or `sms`.
    fn kind(&self) -> &'static str;

    /// Its place among the receiver's integrations of the same kind, from 0.
    fn index(&self) -> usize;

    /// Whether it wants to hear of resolved alerts. Where it does not, the router leaves them out.
    fn send_resolved(&self) -> bool;

    /// Makes one attempt; it ends within the integration's timeout.
    ///
    /// # Errors
    /// When the service did not take the notification, or did not say that it did.
    async fn send(&self, notification: &Notification) -> Result<(), SendError>;
}

/// A named list of integrations; a notification for the receiver goes to every one of them.
#[derive(Clone)]
pub struct Receiver {
    /// The name that routes refer to.
    pub name: String,
    /// In order of the file; may be empty, as in Alertmanager.
    pub integrations: Vec<Arc<dyn Integration>>,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.integrations.iter().map(|i| format!("{}[{}]", i.kind(), i.index())).collect();
        f.debug_struct("Receiver").field("name", &self.name).field("integrations", &kinds).finish()
    }
}
