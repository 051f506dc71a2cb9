//! The edge: one (or an HA pair) per metacluster. It scrapes what runs there, keeps it for a while, aggregates by rules
//! and sends up what `match` selects, under the labels that name the metacluster (`external_labels`).

use tier::{BuildError, Role, Tier};

/// Scrapes one metacluster.
pub struct Edge;

/// A running edge.
pub type App = tier::App<Edge>;

impl Role for Edge {
    const NAME: &'static str = "edge";
    const SOURCE_LABEL: &'static str = "job";

    fn compose(tier: &mut Tier) -> Result<(), BuildError> {
        let upwards = tier.start_forwarding()?;
        tier.start_evaluating(upwards.clone())?;
        // For agents and jobs that push instead of being scraped.
        tier.start_receiving(upwards.clone(), None)?;
        tier.start_scraping(upwards)
    }
}
