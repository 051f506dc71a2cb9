//! What survives a reload: alerts and their timers, and the knowledge which series must end.

use std::collections::HashSet;
use std::sync::Arc;

use model::Labels;

use crate::group::{GroupState, RuleState};
use crate::rule::{Group, Rule};

/// The outcome of a reload.
#[derive(Debug)]
pub struct CarriedOver {
    /// The new groups, in the order given, with what they inherited.
    pub states: Vec<GroupState>,
    /// Series that no rule continues, sorted: write a staleness marker for each.
    pub vanished: Vec<Labels>,
}

/// Hands the state of old groups to the new ones. A rule inherits from the rule of the same kind, name and labels: first
/// within the group of the same file and name, then from any old group, so that a group can be renamed, split or moved
/// to another file without losing alerts.
pub fn carry_over(old: Vec<GroupState>, new: Vec<Arc<Group>>) -> CarriedOver {
    let mut states: Vec<GroupState> = new.into_iter().map(|group| GroupState::new(group, false)).collect();
    let mut inherited: Vec<Vec<bool>> = states.iter().map(|state| vec![false; state.rules.len()]).collect();
    let mut orphans: Vec<(Arc<Group>, usize, RuleState)> = Vec::new();
    for state in old {
        let group = state.group.clone();
        orphans.extend(state.rules.into_iter().enumerate().map(|(i, rule)| (group.clone(), i, rule)));
    }
    for same_group_only in [true, false] {
        for (state, inherited) in states.iter_mut().zip(&mut inherited) {
            let group = state.group.clone();
            for ((rule, slot), done) in group.rules.iter().zip(&mut state.rules).zip(inherited) {
                let fits = |(from, index, _): &(Arc<Group>, usize, RuleState)| {
                    let same_group = from.name == group.name && from.file == group.file;
                    (same_group || !same_group_only) && source(from, *index).is_some_and(|r| rule.continues(r))
                };
                if !*done && let Some(at) = orphans.iter().position(fits) {
                    *slot = orphans.remove(at).2;
                    *done = true;
                }
            }
        }
    }
    let live: HashSet<&Labels> = states.iter().flat_map(|s| &s.rules).flat_map(|r| &r.series).collect();
    let gone = orphans.into_iter().flat_map(|(_, _, rule)| rule.series).filter(|labels| !live.contains(labels));
    let mut vanished: Vec<Labels> = gone.collect();
    vanished.sort();
    vanished.dedup();
    CarriedOver { states, vanished }
}

fn source(group: &Group, index: usize) -> Option<&Rule> {
    group.rules.get(index)
}
