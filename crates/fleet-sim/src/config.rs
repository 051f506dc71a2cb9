//! How large the fleet is and how it behaves.

use model::TimestampMs;

/// The size and the habits of a fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetConfig {
    /// Region names, each unique. A region's place in the list decides when its day begins.
    pub regions: Vec<String>,
    /// Metaclusters in each region.
    pub metaclusters_per_region: usize,
    /// Customer clusters in each metacluster; the metacluster itself is one cluster more.
    pub clusters_per_metacluster: usize,
    /// Nodes in each cluster.
    pub nodes_per_cluster: usize,
    /// Pods on each node: the main lever on the number of series, about 18 each.
    pub pods_per_node: usize,
    /// Everything random is drawn from this.
    pub seed: u64,
    /// How many pods of each cluster are replaced per minute, under new names.
    pub pods_replaced_per_minute: f64,
    /// When every counter was zero.
    pub started: TimestampMs,
}

/// A fleet that cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FleetConfigError {
    /// A number is out of range.
    #[error("{field} is {value}; it must be from {min} to {max}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// What was asked for.
        value: f64,
        /// The smallest possible value.
        min: f64,
        /// The largest possible value.
        max: f64,
    },
    /// Two regions share a name, or one has none.
    #[error("region {0:?} is empty or named twice; give every region a name of its own")]
    RegionName(String),
}

impl Default for FleetConfig {
    /// The demo: 3 regions of 2 metaclusters of 10 clusters of 3 nodes, about 420 series per cluster.
    fn default() -> Self {
        Self {
            regions: ["cn-hangzhou", "eu-central-1", "us-west-1"].map(str::to_owned).into(),
            metaclusters_per_region: 2,
            clusters_per_metacluster: 10,
            nodes_per_cluster: 3,
            pods_per_node: 4,
            seed: 1,
            pods_replaced_per_minute: 0.5,
            started: TimestampMs(1_767_225_600_000), // 2026-01-01T00:00:00Z
        }
    }
}

impl FleetConfig {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that is out of range.
    pub(crate) fn validate(&self) -> Result<(), FleetConfigError> {
        let ranges = [
            ("regions", self.regions.len() as f64, 1.0, 100.0),
            ("metaclusters_per_region", self.metaclusters_per_region as f64, 1.0, 1000.0),
            ("clusters_per_metacluster", self.clusters_per_metacluster as f64, 0.0, 10_000.0),
            ("nodes_per_cluster", self.nodes_per_cluster as f64, 1.0, 10_000.0),
            ("pods_per_node", self.pods_per_node as f64, 1.0, 250.0),
            ("pods_replaced_per_minute", self.pods_replaced_per_minute, 0.0, 1e6),
            ("started", self.started.as_seconds(), 0.0, 1e11),
        ];
        for (field, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                return Err(FleetConfigError::OutOfRange { field, value, min, max });
            }
        }
        for (at, region) in self.regions.iter().enumerate() {
            if region.is_empty() || self.regions[..at].contains(region) {
                return Err(FleetConfigError::RegionName(region.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(FleetConfig::default().validate(), Ok(()));
    }

    #[test]
    fn bounds_are_checked() {
        let broken: [fn(&mut FleetConfig); 6] = [
            |c| c.regions.clear(),
            |c| c.regions[1] = c.regions[0].clone(),
            |c| c.regions[2] = String::new(),
            |c| c.nodes_per_cluster = 0,
            |c| c.pods_per_node = 251,
            |c| c.pods_replaced_per_minute = f64::NAN,
        ];
        for (case, breaking) in broken.iter().enumerate() {
            let mut config = FleetConfig::default();
            breaking(&mut config);
            assert!(config.validate().is_err(), "case {case}");
        }
    }
}
