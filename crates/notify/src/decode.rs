//! The parts of alertmanager.yml that say how people are reached.

use config::Node;

use crate::Receiver;
use runtime::{Metrics, MetricsError};

/// What all receivers of a process share over reloads.
#[derive(Clone, Default)]
pub struct Delivery {}

impl Delivery {
    /// Registers the block's metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(_metrics: &Metrics) -> Result<Self, MetricsError> {
        Ok(Self {})
    }

    /// Decodes `global` (all its keys; `resolve_timeout` is the router's to read, but known here, so the router must
    /// not call `finish` on it), the items of `templates` and of `receivers`. Every problem is reported on its node.
    pub fn decode_receivers(
        &self,
        _global: Option<&Node<'_>>,
        _templates: &[Node<'_>],
        _receivers: &[Node<'_>],
    ) -> Vec<Receiver> {
        Vec::new()
    }
}

/// [`Delivery::decode_receivers`] for who only checks a file: nothing is registered.
pub fn decode_receivers(
    global: Option<&Node<'_>>,
    templates: &[Node<'_>],
    receivers: &[Node<'_>],
) -> Vec<Receiver> {
    Delivery::default().decode_receivers(global, templates, receivers)
}
