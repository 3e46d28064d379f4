//! Data tests of the core: the table, then stories told to a small bench.

mod approval;
mod asked;
mod bench;
mod budget;
mod control;
mod fleet;
mod gates;
mod plans;
mod split;
mod work;

use super::subtask::table;
use super::{Move, PhaseKind};

/// Every legal move, written out: what is not here is illegal.
const LEGAL: &[(PhaseKind, Move, PhaseKind)] = {
    use Move as M;
    use PhaseKind as P;
    &[
        (P::Waiting, M::Unblock, P::Ready),
        (P::Ready, M::Block, P::Waiting),
        (P::Running, M::Split, P::Waiting),
        (P::Backoff, M::Block, P::Waiting),
        (P::Ready, M::Assign, P::Running),
        (P::Backoff, M::Assign, P::Running),
        (P::Running, M::Lose, P::Ready),
        (P::Running, M::Deliver, P::Delivered),
        (P::Ready, M::Deliver, P::Delivered),
        (P::Backoff, M::Deliver, P::Delivered),
        (P::Running, M::FindUnchanged, P::Unchanged),
        (P::Running, M::Postpone, P::Backoff),
        (P::Landing, M::Postpone, P::Backoff),
        (P::Running, M::Park, P::Parked),
        (P::Landing, M::Park, P::Parked),
        (P::Ready, M::Park, P::Parked),
        (P::Backoff, M::Park, P::Parked),
        (P::Parked, M::Wake, P::Ready),
        (P::Delivered, M::Batch, P::Landing),
        (P::Landing, M::Unbatch, P::Delivered),
        (P::Landing, M::Promote, P::Delivered),
        (P::Landing, M::Land, P::Landed),
        (P::Landing, M::KeepLanded, P::Landed),
        (P::Landing, M::FinishRevert, P::Closed),
        (P::Landed, M::Revert, P::Delivered),
        (P::Parked, M::Retry, P::Ready),
        (P::Closed, M::Retry, P::Ready),
        (P::Waiting, M::Close, P::Closed),
        (P::Ready, M::Close, P::Closed),
        (P::Backoff, M::Close, P::Closed),
        (P::Running, M::Close, P::Closed),
        (P::Delivered, M::Close, P::Closed),
        (P::Landing, M::Close, P::Closed),
        (P::Parked, M::Close, P::Closed),
    ]
};

#[test]
fn every_legal_move_is_in_the_table_and_every_other_is_refused() {
    let mut legal = 0;
    for from in PhaseKind::ALL {
        for by in Move::ALL {
            let expected = LEGAL.iter().find(|row| (row.0, row.1) == (from, by)).map(|row| row.2);
            assert_eq!(table(from, by), expected, "{from:?} by {by:?}");
            legal += usize::from(expected.is_some());
        }
    }
    assert_eq!(legal, LEGAL.len());
}
