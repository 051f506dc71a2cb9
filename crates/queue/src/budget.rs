//! What goes when there is no room: the oldest segment, whoever still wants it. What that costs whom is counted.

use std::collections::HashMap;

use crate::place::Place;
use crate::queue::Inner;
use crate::segment::RecordInfo;
use crate::{Maintained, QueueError};

/// A record of a segment that goes: where it is, its bounds, and how many samples of which source it has.
struct Going {
    record: RecordInfo,
    max: i64,
    /// Index of the source and samples.
    samples: Vec<(usize, u64)>,
}

/// The records of a segment that goes, and the sources they are from; the first has no name.
struct Outline {
    sources: Vec<String>,
    records: Vec<Going>,
}

impl Inner {
    /// Drops segments until there is room, and those that are too old.
    pub(crate) fn enforce_budget(&self, now: i64, done: &mut Maintained) -> Result<(), QueueError> {
        loop {
            let (oldest, reason) = {
                let state = self.state.lock();
                let too_old = now.saturating_sub(state.max_age_ms);
                let Some((number, segment)) = state.segments.iter().find(|(_, s)| s.totals.records > 0) else {
                    return Ok(());
                };
                let reason = if self.log.bytes_on_disk() > state.max_bytes {
                    "disk_full"
                } else if segment.last_arrived < too_old {
                    "age"
                } else {
                    return Ok(());
                };
                (*number, reason)
            };
            self.close_segment(oldest)?;
            self.drop_segment(oldest, reason)?;
            done.removed_segments += 1;
        }
    }

    /// Removes a segment and counts what destinations lose by that. What they have in hand is not lost.
    fn drop_segment(&self, number: u64, reason: &'static str) -> Result<(), QueueError> {
        let outline = self.outline(number);
        // The file goes first: while it is there, so is what is known of it. Who reads it can go on.
        self.log.remove(number)?;
        let mut state = self.state.lock();
        let mut lost: Vec<(String, String, u64)> = Vec::new();
        let totals = state.segments.get(&number).map(|segment| (segment.totals, segment.min, segment.max));
        for place in state.places.values_mut() {
            match (&outline, totals) {
                (Ok(outline), _) => {
                    let by_source = count_lost(place, number, outline);
                    lost.extend(
                        by_source
                            .into_iter()
                            .map(|(at, n)| (place.destination.clone(), outline.sources[at].clone(), n)),
                    );
                }
                (Err(_), Some((all, min, max))) => {
                    let left = place.untaken(number, all);
                    place.lose(min, max, left.samples);
                    lost.push((place.destination.clone(), String::new(), left.samples));
                }
                (Err(_), None) => {}
            }
        }
        for (destination, source, samples) in lost.into_iter().filter(|(_, _, samples)| *samples > 0) {
            state.drop_samples(destination, source, reason, samples);
        }
        state.forget_segment(number);
        state.is_changed = true;
        Ok(())
    }

    /// Reads what is in a segment, by source. The sources of its series are those of its definitions.
    fn outline(&self, number: u64) -> Result<Outline, QueueError> {
        let mut outline = Outline { sources: vec![String::new()], records: Vec::new() };
        let mut index: HashMap<String, usize> = HashMap::new();
        let series: std::cell::RefCell<HashMap<u32, usize>> = std::cell::RefCell::default();
        let sources = &mut outline.sources;
        let define = |id: u32, labels: &model::Labels| {
            let source = self.source_labels.iter().find_map(|label| labels.get(label)).unwrap_or_default();
            let at = match index.get(source) {
                _ if source.is_empty() => 0,
                Some(at) => *at,
                None => {
                    sources.push(source.to_owned());
                    index.insert(source.to_owned(), sources.len() - 1);
                    sources.len() - 1
                }
            };
            series.borrow_mut().insert(id, at);
        };
        let records = &mut outline.records;
        self.files.outline(number, define, |header, record, numbers| {
            let mut samples: Vec<(usize, u64)> = Vec::new();
            let mut count = |at: usize, n: u64| match samples.iter_mut().find(|(source, _)| *source == at) {
                Some((_, counted)) => *counted += n,
                None => samples.push((at, n)),
            };
            let series = series.borrow();
            numbers.iter().for_each(|number| count(series.get(number).copied().unwrap_or(0), 1));
            // Histograms are not looked into.
            count(0, u64::from(header.samples).saturating_sub(numbers.len() as u64));
            records.push(Going { record, max: header.max, samples });
        })?;
        Ok(outline)
    }
}

/// Notes the gap that the end of a segment leaves for a destination. Returns lost samples by source.
fn count_lost(place: &mut Place, number: u64, outline: &Outline) -> HashMap<usize, u64> {
    let mut by_source = HashMap::new();
    let (mut from, mut to, mut all) = (i64::MAX, i64::MIN, 0);
    let taken = place.progress.get(&number).map(|progress| &progress.taken);
    for going in outline.records.iter().filter(|going| !taken.is_some_and(|t| t.contains(going.record.offset))) {
        (from, to) = (from.min(going.record.min), to.max(going.max));
        all += u64::from(going.record.samples);
        for (source, samples) in &going.samples {
            *by_source.entry(*source).or_insert(0) += samples;
        }
    }
    place.lose(from, to, all);
    by_source
}
