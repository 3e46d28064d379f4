//! What changed between two ascending sequences, in one walk and without copies of what did not.

use std::cmp::Ordering;

/// What is only in the first, and what is only in the second of two ascending sequences.
pub(crate) fn differences<T: Ord>(old: impl Iterator<Item = T>, new: impl Iterator<Item = T>) -> (Vec<T>, Vec<T>) {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    let (mut gone, mut fresh) = (Vec::new(), Vec::new());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return (gone, fresh),
        };
        match order {
            Ordering::Less => gone.extend(old.next()),
            Ordering::Greater => fresh.extend(new.next()),
            Ordering::Equal => drop((old.next(), new.next())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &[u8], new: &[u8], gone: &[u8], fresh: &[u8]) {
        let found = differences(old.iter().copied(), new.iter().copied());
        assert_eq!(found, (gone.to_vec(), fresh.to_vec()));
    }

    #[test]
    fn both_sides_are_found() {
        check(&[], &[], &[], &[]);
        check(&[1, 2, 3], &[2, 4], &[1, 3], &[4]);
        check(&[], &[1, 2], &[], &[1, 2]);
        check(&[1, 2], &[], &[1, 2], &[]);
        check(&[1, 2], &[1, 2], &[], &[]);
    }
}
