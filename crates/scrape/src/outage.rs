//! A store that takes nothing: told aloud once for all targets when it begins, changes and ends, since a line for every
//! scrape would bury the log.

use model::AppendError;
use parking_lot::Mutex;

/// What was told last; `None` while the store takes samples.
#[derive(Default)]
pub(crate) struct Outage(Mutex<Option<AppendError>>);

impl Outage {
    /// Takes note of how an append went.
    pub(crate) fn tell(&self, error: Option<&AppendError>) {
        if !self.is_news(error) {
            return;
        }
        match error {
            Some(error) => tracing::error!(%error, "what is scraped cannot be stored and is lost"),
            None => tracing::info!("what is scraped is stored again"),
        }
    }

    fn is_news(&self, error: Option<&AppendError>) -> bool {
        let mut told = self.0.lock();
        let is_news = told.as_ref() != error;
        if is_news {
            *told = error.cloned();
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_news() {
        let full = AppendError::Unwritable("no space left".to_owned());
        let (full, closed) = (Some(&full), Some(&AppendError::Closed));
        let outage = Outage::default();
        let cases =
            [(None, false), (full, true), (full, false), (closed, true), (None, true), (None, false), (full, true)];
        for (error, want) in cases {
            assert_eq!(outage.is_news(error), want, "{error:?}");
        }
    }
}
