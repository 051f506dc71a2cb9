//! An index behind a lock that is held for moments, and what readers that outlive a generation hold on to.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use postings::LabelIndex;

use crate::index::Index;
use crate::order::Order;
use crate::pairs::PairId;

/// So many values or series are handled before others get a turn at the index.
pub(crate) const SLICE: usize = 2048;

/// Never given twice in this process.
static IDENTITIES: AtomicU64 = AtomicU64::new(1);

/// The series of one generation, shared by appends and reads.
#[derive(Debug)]
pub(crate) struct Catalog {
    identity: u64,
    pub(crate) index: RwLock<Index>,
    /// The label order of the first series of the index.
    order: RwLock<Arc<Order>>,
    /// Held while an order is made: by one at a time.
    ordering: Mutex<()>,
}

impl Catalog {
    pub(crate) fn new(index: Index, order: Order) -> Self {
        Self {
            identity: IDENTITIES.fetch_add(1, Ordering::Relaxed),
            index: RwLock::new(index),
            order: RwLock::new(Arc::new(order)),
            ordering: Mutex::default(),
        }
    }

    /// The label order as far as it is known.
    pub(crate) fn order(&self) -> Arc<Order> {
        self.order.read().clone()
    }

    /// The label order of at least the first `count` series.
    pub(crate) fn order_of(&self, count: usize) -> Arc<Order> {
        let _one_at_a_time = self.ordering.lock();
        let known = self.order();
        if known.len() >= count {
            return known;
        }
        let fresh = Arc::new(Order::of(self));
        *self.order.write() = fresh.clone();
        fresh
    }

    /// Calls `each` with the number and the text of every pair of a name but the first `seen`, in order of arrival, until
    /// it returns false. The lock is not held meanwhile.
    pub(crate) fn each_value(&self, name: &str, seen: usize, each: &mut dyn FnMut(PairId, &str) -> bool) {
        let (mut texts, mut found) = (String::new(), Vec::new());
        let mut from = seen;
        loop {
            texts.clear();
            found.clear();
            {
                let index = self.index.read();
                let Some(name) = index.pairs.name_id(name).and_then(|id| index.pairs.names().get(id as usize)) else {
                    return;
                };
                for pair in name.pairs.iter().skip(from).take(SLICE) {
                    let start = texts.len();
                    texts.push_str(index.pairs.text(*pair).1);
                    found.push((*pair, start..texts.len()));
                }
            }
            if found.is_empty() {
                return;
            }
            from += found.len();
            for (pair, place) in found.drain(..) {
                if !each(pair, &texts[place]) {
                    return;
                }
            }
        }
    }
}

impl LabelIndex for Catalog {
    fn series_count(&self) -> usize {
        self.index.read().len()
    }

    fn all(&self, into: &mut Vec<u32>) {
        into.extend(0..self.index.read().len() as u32);
    }

    fn value_id(&self, name: &str, value: &str) -> Option<u32> {
        self.index.read().pairs.find(name, value)
    }

    fn postings(&self, name: &str, value_id: u32, into: &mut Vec<u32>) {
        let index = self.index.read();
        if index.pairs.text(value_id).0 == name {
            into.extend_from_slice(index.pairs.postings(value_id));
        }
    }

    fn postings_len(&self, _name: &str, value_id: u32) -> usize {
        self.index.read().pairs.postings(value_id).len()
    }

    fn values(&self, name: &str, _prefix: &str, each: &mut dyn FnMut(u32, &str) -> bool) {
        self.each_value(name, 0, each);
    }

    fn value_of(&self, series: u32, name: &str) -> Option<(u32, Cow<'_, str>)> {
        let index = self.index.read();
        let pairs = index.pairs_of(series).iter().map(|pair| (*pair, index.pairs.text(*pair)));
        let (pair, (_, value)) = pairs.into_iter().find(|(_, (n, _))| *n == name)?;
        Some((pair, Cow::Owned(value.to_owned())))
    }

    fn cache_key(&self, name: &str) -> (u64, u32) {
        let index = self.index.read();
        let name = index.pairs.name_id(name).and_then(|id| index.pairs.names().get(id as usize));
        (self.identity, name.map_or(0, |n| n.pairs.len() as u32))
    }

    fn values_after(&self, name: &str, seen: u32, each: &mut dyn FnMut(u32, &str) -> bool) -> bool {
        self.each_value(name, seen as usize, each);
        true
    }

    fn on_every_series(&self, name: &str) -> bool {
        let index = self.index.read();
        let name = index.pairs.name_id(name).and_then(|id| index.pairs.names().get(id as usize));
        name.is_some_and(|n| n.series as usize == index.len())
    }
}
