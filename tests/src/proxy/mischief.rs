//! Dropping, duplicating and reordering messages, from a seed.

use bytes::Bytes;

use super::frames::Frame;
use crate::random::Random;

/// A held message waits for at most this many others.
const BEHIND_MAX: u64 = 4;

/// How often what is done to a message, in thousandths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mischief {
    /// It does not arrive.
    pub drop: u16,
    /// It arrives twice.
    pub duplicate: u16,
    /// It arrives behind some of its successors.
    pub reorder: u16,
}

/// One direction's messages, some held back.
#[derive(Default)]
pub(crate) struct Trick {
    held: Vec<(u64, Bytes)>,
}

impl Trick {
    /// What passes now in place of a frame, and what was done, if anything.
    pub(crate) fn play(
        &mut self,
        frame: Frame,
        mischief: Mischief,
        random: &mut Random,
    ) -> (Vec<Bytes>, Option<String>) {
        let Some(subject) = frame.subject else { return (vec![frame.bytes], None) };
        let roll = random.below(1000);
        let (drop, duplicate, reorder) =
            (u64::from(mischief.drop), u64::from(mischief.duplicate), u64::from(mischief.reorder));
        let mut passes = Vec::new();
        let done = if roll < drop {
            Some(format!("drop {subject}"))
        } else if roll < drop + duplicate {
            passes.extend([frame.bytes.clone(), frame.bytes]);
            Some(format!("duplicate {subject}"))
        } else if roll < drop + duplicate + reorder {
            let behind = 1 + random.below(BEHIND_MAX);
            self.held.push((behind, frame.bytes));
            return (passes, Some(format!("hold {subject} behind {behind}")));
        } else {
            passes.push(frame.bytes);
            None
        };
        for held in &mut self.held {
            held.0 -= 1;
        }
        passes.extend(self.held.extract_if(.., |held| held.0 == 0).map(|(_, bytes)| bytes));
        (passes, done)
    }

    /// Whether anything is held back.
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Lets go of what is held back.
    pub(crate) fn release(&mut self) -> Vec<Bytes> {
        self.held.drain(..).map(|(_, bytes)| bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(seed: u64) -> (Vec<Bytes>, Vec<String>) {
        let mischief = Mischief { drop: 100, duplicate: 100, reorder: 200 };
        let (mut trick, mut random) = (Trick::default(), Random::stream(seed, 1));
        let (mut passed, mut log) = (Vec::new(), Vec::new());
        for number in 0..1000 {
            let frame = Frame { bytes: format!("{number}").into(), subject: Some("s".to_owned()) };
            let (passes, done) = trick.play(frame, mischief, &mut random);
            passed.extend(passes);
            log.extend(done);
        }
        passed.extend(trick.release());
        (passed, log)
    }

    #[test]
    fn the_same_seed_plays_the_same_tricks() {
        let (passed, log) = played(7);
        assert_eq!((&passed, &log), (&played(7).0, &played(7).1));
        assert_ne!(log, played(8).1);
        let count = |word: &str| log.iter().filter(|line| line.starts_with(word)).count();
        let (dropped, doubled, held) = (count("drop"), count("duplicate"), count("hold"));
        assert!(dropped > 50 && doubled > 50 && held > 100, "{dropped} {doubled} {held}");
        assert_eq!(passed.len(), 1000 - dropped + doubled, "nothing else is lost");
    }

    #[test]
    fn control_lines_pass_untouched() {
        let all = Mischief { drop: 1000, ..Mischief::default() };
        let frame = Frame { bytes: "PING\r\n".into(), subject: None };
        let (passes, done) = Trick::default().play(frame.clone(), all, &mut Random::stream(1, 1));
        assert_eq!((passes, done), (vec![frame.bytes], None));
    }
}
