//! The cascade: one per region or large geography. It receives from edges, stamps its own labels (`external_labels`:
//! the region) on everything, aggregates by rules and sends what `match` selects to every central.

use tier::{BuildError, Role, Stamp, Tier};

/// Gathers one region.
pub struct Cascade;

/// A running cascade.
pub type App = tier::App<Cascade>;

impl Role for Cascade {
    const NAME: &'static str = "cascade";
    const SOURCE_LABEL: &'static str = "metacluster";

    fn compose(tier: &mut Tier) -> Result<(), BuildError> {
        let upwards = tier.start_forwarding()?;
        tier.start_evaluating(upwards.clone())?;
        let merged = tier.start_merging(upwards)?;
        // Over what the sender claims: no edge speaks for another region (docs/decisions/004).
        let region = Stamp::new(tier.shared_labels());
        tier.start_receiving(merged.clone(), Some(region))?;
        tier.start_scraping(merged)
    }
}
