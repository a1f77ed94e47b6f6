//! Rows that come in stretches, each in order: found and merged without a look at every row of every stretch.

use std::cmp::Ordering;

/// Where each stretch of rows that go up ends. No rows have none.
pub fn ends<T>(rows: &[T], order: impl Fn(&T, &T) -> Ordering) -> Vec<usize> {
    let breaks = rows.windows(2).enumerate().filter(|(_, pair)| order(&pair[0], &pair[1]).is_ge());
    breaks.map(|(before, _)| before + 1).chain((!rows.is_empty()).then_some(rows.len())).collect()
}

/// The rows in order, those that are equal as they came. Also returns whether any two are equal.
/// `ends` are those of stretches in which the rows go up.
pub fn merge<T: Copy>(mut rows: Vec<T>, mut ends: Vec<usize>, order: impl Fn(&T, &T) -> Ordering) -> (Vec<T>, bool) {
    let mut is_repeated = false;
    while ends.len() > 1 {
        let mut joined = Vec::with_capacity(rows.len());
        let mut start = 0;
        for pair in ends.chunks(2) {
            let (first, second) = (&rows[start..pair[0]], &rows[pair[0]..pair[pair.len() - 1]]);
            is_repeated |= merge_two(first, second, &order, &mut joined);
            start = joined.len();
        }
        ends = ends.chunks(2).map(|pair| pair[pair.len() - 1]).collect();
        rows = joined;
    }
    (rows, is_repeated)
}

fn merge_two<T: Copy>(
    mut first: &[T],
    mut second: &[T],
    order: impl Fn(&T, &T) -> Ordering,
    joined: &mut Vec<T>,
) -> bool {
    let mut is_repeated = false;
    while let Some(next) = second.first() {
        let (before, after) = first.split_at(leading(first, |row| order(row, next).is_le()));
        is_repeated |= before.last().is_some_and(|row| order(row, next).is_eq());
        joined.extend_from_slice(before);
        let Some(next) = after.first() else { break };
        let (before, rest) = second.split_at(leading(second, |row| order(row, next).is_lt()));
        joined.extend_from_slice(before);
        (first, second) = (after, rest);
    }
    // One of them is used up, or `first` was copied and `second` is left.
    joined.extend_from_slice(if second.is_empty() { first } else { second });
    is_repeated
}

/// How many rows at the start hold, which none does after the first that does not. Near ones are found soonest.
fn leading<T>(rows: &[T], holds: impl Fn(&T) -> bool) -> usize {
    let mut reach = 1;
    while reach < rows.len() && holds(&rows[reach - 1]) {
        reach *= 2;
    }
    let start = reach / 2;
    start + rows[start..reach.min(rows.len())].partition_point(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn joined_rows_are_as_sorted_ones(rows in proptest::collection::vec(0..60_u32, 0..60)) {
            let rows: Vec<(u32, usize)> = rows.into_iter().zip(0..).collect();
            let order = |a: &(u32, usize), b: &(u32, usize)| a.0.cmp(&b.0);
            let mut expected = rows.clone();
            expected.sort_by(order);
            let is_repeated = expected.windows(2).any(|pair| pair[0].0 == pair[1].0);
            let ends = ends(&rows, order);
            proptest::prop_assert_eq!(merge(rows, ends, order), (expected, is_repeated));
        }
    }

    /// A short list beside a long one costs a few looks, not one for each row.
    #[test]
    fn a_short_stretch_joins_a_long_one_with_few_comparisons() {
        let rows: Vec<u32> = (0..100_000).map(|row| row * 2).chain([7, 90_001]).collect();
        let looks = std::cell::Cell::new(0);
        let order = |a: &u32, b: &u32| {
            looks.set(looks.get() + 1);
            a.cmp(b)
        };
        let ends = ends(&rows, order);
        assert_eq!((ends.as_slice(), looks.take()), ([100_000, 100_002].as_slice(), 100_001));
        let (joined, is_repeated) = merge(rows, ends, order);
        assert!(joined.is_sorted() && joined.len() == 100_002 && !is_repeated);
        assert!(looks.get() < 100, "{}", looks.get());
    }
}
