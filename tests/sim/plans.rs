//! What plans promise: they are carried out as they were shown, and in order.

use std::collections::BTreeSet;

use crate::session::Shown;
use crate::vendors::Key;

/// Where nothing fails, what is planned for today is what is sent; what is wrong with that.
pub(crate) fn not_carried_out(jobs: &[Shown], sent: &BTreeSet<Key>) -> Option<String> {
    let planned: BTreeSet<Key> = jobs.iter().flat_map(|job| job.today.iter().copied()).collect();
    let (left, more) = (planned.difference(sent).collect::<Vec<_>>(), sent.difference(&planned).collect::<Vec<_>>());
    let differs = !left.is_empty() || !more.is_empty();
    differs.then(|| format!("nothing fails, {left:?} were planned and not sent, {more:?} sent and not planned"))
}

/// What draws on one quota goes in one order; `rank` gives a target's place in it, where it has one.
pub(crate) fn out_of_order(jobs: &[Shown], rank: &dyn Fn(Key) -> Option<(usize, u64)>) -> Option<String> {
    let drawing: Vec<_> = jobs.iter().filter_map(|job| Some((job, job.quota.as_ref()?))).collect();
    for (held, (quota, limit)) in &drawing {
        // What may use as much of the quota could have gone in place of what does.
        let rivals = drawing.iter().filter(|(_, (other, most))| other == quota && most <= limit);
        let going = rivals.flat_map(|(job, _)| job.today.iter()).filter_map(|key| Some((rank(*key)?, *key))).max();
        let waiting = held.waits.iter().filter_map(|key| Some((rank(*key)?, *key))).min();
        if let (Some((last, goes)), Some((first, waits))) = (going, waiting)
            && first < last
        {
            return Some(format!(
                "{waits:?} waits for quota behind {goes:?}, which comes after it: {first:?}, {last:?}"
            ));
        }
    }
    None
}
