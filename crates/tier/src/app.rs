//! A role as others handle it: build, start, stop.

use std::marker::PhantomData;
use std::net::SocketAddr;
use std::time::Duration;

use crate::{BuildError, Options, Tier};

/// What makes a tier an edge, a cascade or a central.
pub trait Role {
    /// How logs and metrics call it.
    const NAME: &'static str;

    /// The label that tells the sources of its samples apart, for limits per source.
    const SOURCE_LABEL: &'static str;

    /// Starts the parts it is made of, from the top of the flow to its bottom, so that whatever is fed runs first.
    ///
    /// # Errors
    /// When a client cannot be built.
    fn compose(tier: &mut Tier) -> Result<(), BuildError>;
}

/// A tier in a role.
pub struct App<R> {
    tier: Tier,
    role: PhantomData<R>,
}

impl<R: Role> App<R> {
    /// Validates everything and binds the address; nothing runs yet.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration or the address.
    pub async fn build(options: Options) -> Result<Self, BuildError> {
        Ok(Self { tier: Tier::build(R::NAME, options).await?, role: PhantomData })
    }

    /// Starts every part, then serves.
    ///
    /// # Errors
    /// When a client cannot be built.
    pub fn start(&mut self) -> Result<(), BuildError> {
        R::compose(&mut self.tier)?;
        self.tier.start_serving()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.tier.address()
    }

    /// The frame it stands in, for signals and reload.
    pub fn tier(&self) -> &Tier {
        &self.tier
    }

    /// Stops what was started last first, and drains what is queued.
    pub async fn stop(&self, within: Duration) {
        self.tier.stop(within).await;
    }
}
