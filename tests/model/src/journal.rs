//! Journals small enough to be numbers, tied to the product's own chain.
//!
//! A `Chain` is what a journal says; `mark` and `unpacked` turn it into the product's real hash and batch, so that the
//! models ask `meet` and `Receiver` with genuine arguments.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use waystation_protocol::batch::{Builder, Unpacked};
use waystation_protocol::chain::{Hash, Mark, Seq};
use waystation_protocol::id::StreamId;
use waystation_protocol::message::Batch;

/// A journal's whole content, and so its hash: entries named 1 to 15, the first in the lowest four bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Chain(u64);

/// A set of entries, or of seqs: bit n stands for n.
pub type Set = u16;

impl Chain {
    /// The empty journal.
    pub const EMPTY: Chain = Chain(0);

    /// The journal of these names.
    pub fn of(names: &[u8]) -> Chain {
        names.iter().fold(Chain::EMPTY, |chain, name| chain.push(*name))
    }

    /// How many entries.
    pub fn len(self) -> u8 {
        (64 - self.0.leading_zeros()).div_ceil(4) as u8
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The journal with one more entry.
    pub fn push(self, entry: u8) -> Chain {
        assert!((1..16).contains(&entry) && self.len() < 16, "names and lengths fit four bits");
        Chain(self.0 | u64::from(entry) << (4 * self.len()))
    }

    /// Its first `seq` entries.
    pub fn upto(self, seq: u8) -> Chain {
        if seq >= 16 { self } else { Chain(self.0 & ((1 << (4 * seq)) - 1)) }
    }

    /// The entry at `seq`, counted from 1.
    pub fn entry(self, seq: u8) -> u8 {
        (self.0 >> (4 * (seq - 1)) & 15) as u8
    }

    /// The entries at seqs after `from`.
    pub fn entries_after(self, from: u8) -> Set {
        (from + 1..=self.len()).fold(0, |set, seq| set | 1 << self.entry(seq))
    }

    /// All its entries.
    pub fn entries(self) -> Set {
        self.entries_after(0)
    }

    /// Whether `other` goes on from here.
    pub fn is_prefix_of(self, other: Chain) -> bool {
        other.upto(self.len()) == self
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = (1..=self.len()).map(|seq| char::from(b'a' - 1 + self.entry(seq)));
        write!(f, "{}", names.chain(self.is_empty().then_some('-')).collect::<String>())
    }
}

#[derive(Default)]
struct Memory {
    marks: HashMap<Chain, Mark>,
    chains: HashMap<[u8; 32], Chain>,
    batches: HashMap<(Chain, Chain), Rc<Unpacked>>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// The product's mark at the end of a chain.
pub fn mark(chain: Chain) -> Mark {
    MEMORY.with_borrow_mut(|memory| {
        let Memory { marks, chains, .. } = memory;
        *marks.entry(chain).or_insert_with(|| {
            let entries = (1..=chain.len()).map(|seq| chain.entry(seq));
            let mark = entries.fold(Mark::ZERO, |mark, entry| mark.extend(&[entry]));
            chains.insert(*mark.hash.as_bytes(), chain);
            mark
        })
    })
}

/// The chain a mark was made from.
pub fn chain(mark: Mark) -> Chain {
    MEMORY.with_borrow(|memory| memory.chains[mark.hash.as_bytes()])
}

/// The product's batch that leads from one end of a chain to a later one.
pub fn unpacked(before: Chain, last: Chain) -> Rc<Unpacked> {
    if let Some(known) = MEMORY.with_borrow(|memory| memory.batches.get(&(before, last)).cloned()) {
        return known;
    }
    let mut builder = Builder::new();
    for seq in before.len() + 1..=last.len() {
        assert!(builder.push(&[last.entry(seq)]), "a batch of the model fits");
        mark(last.upto(seq));
    }
    let batch = Batch {
        stream: StreamId::from_bytes([0; 16]),
        parent: None,
        first_seq: Seq(u64::from(before.len()) + 1),
        count: builder.count(),
        prev_hash: mark(before).hash,
        base: None,
        payload: builder.finish().into(),
    };
    let opened = Rc::new(Unpacked::open(&batch).expect("the batch was built here"));
    MEMORY.with_borrow_mut(|memory| memory.batches.insert((before, last), opened.clone()));
    opened
}

/// The hash of the chain's first `seq` entries.
pub fn hash_at(chain: Chain, seq: u8) -> Hash {
    mark(chain.upto(seq)).hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_the_product_s_chain() {
        let abc = Chain::of(&[1, 2, 3]);
        assert_eq!((abc.len(), abc.entry(3), format!("{abc:?}")), (3, 3, "abc".to_owned()));
        assert_eq!(mark(abc), mark(abc.upto(2)).extend(&[3]));
        assert_eq!(chain(unpacked(abc.upto(1), abc).last()), abc);
        assert!(abc.upto(2).is_prefix_of(abc) && !abc.is_prefix_of(abc.upto(2)));
        assert_eq!(abc.entries_after(1), 0b1100);
    }
}
