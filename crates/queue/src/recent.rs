//! What was pushed lately, whoever has it by now.

use model::TimestampMs;

use crate::{Batch, Position, Queue, QueueError};

impl Queue {
    /// Calls `each` with every record that is still there and was pushed at `since` or later, until it returns false. Reads
    /// the disk.
    ///
    /// # Errors
    /// When a segment cannot be read. Records that cannot be are left out.
    pub fn pushed_since(&self, since: TimestampMs, mut each: impl FnMut(&Batch) -> bool) -> Result<(), QueueError> {
        let inner = &*self.inner;
        let numbers: Vec<u64> = {
            let state = inner.state.lock();
            let late = state.segments.iter().filter(|(_, segment)| segment.last_arrived >= since.0);
            late.map(|(number, _)| *number).collect()
        };
        for number in numbers {
            inner.load(number)?;
            let (loaded, offsets) = {
                let state = inner.state.lock();
                // One that was removed meanwhile holds nothing that is still there.
                let Some(segment) = state.segments.get(&number) else { continue };
                let late = segment.records.iter().filter(|record| record.arrived >= since.0);
                (segment.loaded.clone(), late.map(|record| record.offset).collect::<Vec<_>>())
            };
            for offset in offsets {
                let kept = inner.state.lock().memory.get(Position { segment: number, offset });
                let goes_on = match (kept, &loaded) {
                    (Some(batch), _) => each(&batch),
                    (None, Some(loaded)) => {
                        let read = loaded.batch(offset, &mut inner.decoder.lock());
                        read.is_none_or(|(batch, _)| each(&batch))
                    }
                    (None, None) => true,
                };
                if !goes_on {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
