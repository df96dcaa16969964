//! Lives in which segments are rewritten.

use sublog_storage::{Codec, NotRewritten, RewriteStep};

use super::explore::World;
use super::model::{Broken, Counts};

impl World {
    /// Steps of a rewriting, a new one if none is under way; sometimes with power cuts in the middle, sometimes given up.
    pub(crate) fn rewrite(&mut self, counts: &mut Counts) -> Result<(), Broken> {
        if self.chance.percent(10) {
            self.rewrite = None;
        }
        let steps = 1 + self.chance.below(20);
        let cuts = self.with_cuts(14, counts, |world, counts| world.rewrite_whole(steps, counts))?;
        counts.rewrite_cuts += cuts;
        Ok(())
    }

    fn rewrite_whole(&mut self, steps: u64, counts: &mut Counts) -> Result<(), Broken> {
        let Some((log, _)) = &self.open else { return Ok(()) };
        let mut rewrite = self.rewrite.take().unwrap_or_else(|| {
            let segments = log.segments();
            // A log that lost its only segment to a failing call has none.
            let from = self.chance.below(segments.len().max(1) as u64) as usize;
            let first_seq = segments.get(from).map_or(1, |segment| segment.first_seq);
            let codec = if self.chance.percent(50) { Codec::Zstd } else { Codec::None };
            let count = 1 + self.chance.below(3) as usize;
            log.compact(first_seq, count, codec)
        });
        for _ in 0..steps {
            match rewrite.step(1 + self.chance.below(8000)) {
                Ok(RewriteStep::Working { .. }) => {}
                Ok(RewriteStep::Done(_)) => {
                    counts.rewrites += 1;
                    return Ok(());
                }
                Ok(RewriteStep::NotDone(why @ (NotRewritten::Damaged(_) | NotRewritten::Busy))) => {
                    return Err(Broken::Other(format!("not rewritten: {why:?}")));
                }
                Ok(RewriteStep::NotDone(_)) => return Ok(()),
                Err(_) if self.faulty => return Ok(()),
                Err(e) => return Err(Broken::Other(format!("not rewritten: {e}"))),
            }
        }
        self.rewrite = Some(rewrite);
        Ok(())
    }
}
