//! The central: two of them, active-active, each fed by every cascade. It stores, evaluates recording and alerting
//! rules, posts alerts to every router, answers queries, and fetches from the other what it lacks.

use tier::{BuildError, Role, Tier};

/// Holds the global picture.
pub struct Central;

/// A running central.
pub type App = tier::App<Central>;

impl Role for Central {
    const NAME: &'static str = "central";
    const SOURCE_LABEL: &'static str = "region";

    fn compose(tier: &mut Tier) -> Result<(), BuildError> {
        // Mostly there is no destination: a central is the end of the way. An archive may stand behind it.
        let stored = tier.start_forwarding()?;
        tier.start_comparing(stored.clone(), Self::SOURCE_LABEL)?;
        tier.start_evaluating(stored.clone())?;
        let merged = tier.start_merging(stored)?;
        tier.start_receiving(merged.clone(), None)?;
        tier.start_scraping(merged)
    }
}
