//! Queries that wait, and whose turn is next. A plain data structure: no locks, no clock.

use std::collections::VecDeque;

/// Who asks. Queries of one address take turns with those of others, and within an address those of one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Caller {
    /// Where the request came from.
    pub address: String,
    /// What tells callers behind one address apart, such as a dashboard; may be empty. It is the caller's own word, so it
    /// decides within the address only.
    pub name: String,
}

/// Items that wait, in the order in which callers take turns.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    addresses: VecDeque<Address<T>>,
    next_id: u64,
    max: usize,
}

#[derive(Debug)]
struct Address<T> {
    address: String,
    names: VecDeque<Name<T>>,
}

#[derive(Debug)]
struct Name<T> {
    name: String,
    items: VecDeque<(u64, T)>,
}

impl<T> Address<T> {
    fn len(&self) -> usize {
        self.names.iter().map(|name| name.items.len()).sum()
    }
}

impl<T> FairQueue<T> {
    /// A queue in which at most `max` items wait.
    pub fn new(max: usize) -> Self {
        Self { addresses: VecDeque::new(), next_id: 0, max }
    }

    pub fn len(&self) -> usize {
        self.addresses.iter().map(Address::len).sum()
    }

    /// Adds an item, and returns its number. Where the queue is full, the newest item of the address that waits with most
    /// gives way and is returned; where that is the caller's own, the item itself is refused.
    pub fn push(&mut self, caller: &Caller, item: T) -> Result<(u64, Option<T>), T> {
        let mut displaced = None;
        if self.len() >= self.max {
            let own = self.addresses.iter().find(|a| a.address == caller.address).map_or(0, Address::len);
            match self.addresses.iter_mut().max_by_key(|a| a.len()).filter(|most| most.len() > own + 1) {
                Some(most) => displaced = newest(most),
                None => return Err(item),
            }
        }
        let at = match self.addresses.iter().position(|a| a.address == caller.address) {
            Some(at) => at,
            None => {
                self.addresses.push_back(Address { address: caller.address.clone(), names: VecDeque::new() });
                self.addresses.len() - 1
            }
        };
        let names = &mut self.addresses[at].names;
        let at = match names.iter().position(|n| n.name == caller.name) {
            Some(at) => at,
            None => {
                names.push_back(Name { name: caller.name.clone(), items: VecDeque::new() });
                names.len() - 1
            }
        };
        let id = self.next_id;
        self.next_id += 1;
        names[at].items.push_back((id, item));
        Ok((id, displaced))
    }

    /// The item whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let mut address = self.addresses.pop_front()?;
        let mut name = address.names.pop_front()?;
        let item = name.items.pop_front().map(|(_, item)| item);
        if !name.items.is_empty() {
            address.names.push_back(name);
        }
        if !address.names.is_empty() {
            self.addresses.push_back(address);
        }
        item
    }

    /// Takes out an item that no longer waits, if it is still there.
    pub fn remove(&mut self, id: u64) {
        for address in &mut self.addresses {
            for name in &mut address.names {
                name.items.retain(|(other, _)| *other != id);
            }
            address.names.retain(|name| !name.items.is_empty());
        }
        self.addresses.retain(|address| !address.names.is_empty());
    }
}

/// Takes the newest item of the name that waits with most. The address keeps others: it had at least two.
fn newest<T>(address: &mut Address<T>) -> Option<T> {
    let name = address.names.iter_mut().max_by_key(|name| name.items.len())?;
    let item = name.items.pop_back().map(|(_, item)| item);
    address.names.retain(|name| !name.items.is_empty());
    item
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caller(text: &str) -> Caller {
        let (address, name) = text.split_once('/').unwrap_or((text, ""));
        Caller { address: address.to_owned(), name: name.to_owned() }
    }

    fn popped(queue: &mut FairQueue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn callers_take_turns() {
        let mut queue = FairQueue::new(100);
        for text in ["a/1", "a/1", "a/1", "a/2", "b", "a/3", "b", "c/9"] {
            queue.push(&caller(text), text).expect("has room");
        }
        assert_eq!(popped(&mut queue), ["a/1", "b", "c/9", "a/2", "b", "a/3", "a/1", "a/1"]);
    }

    #[test]
    fn a_full_queue_takes_from_whoever_has_most() {
        let mut queue = FairQueue::new(4);
        for text in ["a/1", "a/2", "a/2", "b"] {
            queue.push(&caller(text), text).expect("has room");
        }
        assert_eq!(queue.push(&caller("a/3"), "a/3"), Err("a/3"), "a has most already");
        assert_eq!(queue.push(&caller("c"), "c").map(|(_, gone)| gone), Ok(Some("a/2")));
        assert_eq!(queue.push(&caller("b"), "b"), Err("b"), "nobody has more than b would have");
        assert_eq!(popped(&mut queue), ["a/1", "b", "c", "a/2"]);
        assert_eq!(FairQueue::new(0).push(&caller("a"), 1), Err(1));
    }

    #[test]
    fn who_leaves_is_taken_out() {
        let mut queue = FairQueue::new(10);
        let ids: Vec<u64> = ["a", "b", "a/1"].map(|text| queue.push(&caller(text), text).expect("has room").0).to_vec();
        queue.remove(ids[0]);
        queue.remove(ids[0]);
        queue.remove(ids[1]);
        assert_eq!((queue.len(), popped(&mut queue)), (1, vec!["a/1"]));
    }

    proptest! {
        #[test]
        fn nobody_waits_for_more_than_one_query_of_each_other_caller(
            waiting in prop::collection::vec((0u8..4, 0u8..3), 1..60),
            late in 0u8..4,
        ) {
            let mut queue = FairQueue::new(100);
            for (address, name) in &waiting {
                queue.push(&caller(&format!("{address}/{name}")), *address).expect("has room");
            }
            let mine = waiting.iter().filter(|(address, _)| *address == late).count();
            queue.push(&caller("new"), 99).expect("has room");
            let order: Vec<u8> = std::iter::from_fn(|| queue.pop()).collect();
            prop_assert_eq!(order.len(), waiting.len() + 1);
            prop_assert_eq!(order.iter().filter(|a| **a == late).count(), mine);
            let before = order.iter().position(|a| *a == 99).expect("is served");
            prop_assert!(before <= 4, "{} were served before the newcomer", before);
        }
    }
}
