//! Links between clients and replicas: bytes that were written and have not been received yet, which die
//! with the link.

use std::collections::VecDeque;

use slab::Slab;
use tidewire_router::Written;

#[derive(Debug)]
pub(crate) struct Link {
    /// Written, on the way.
    pub(crate) to_client: VecDeque<u8>,
    /// How much may be on the way.
    pub(crate) capacity: usize,
    /// A write did not go through: the replica waits to be told.
    pub(crate) blocked: bool,
    /// The client has gone, or the network is cut; the replica does not know yet.
    pub(crate) cut: bool,
    /// The replica has closed it, or died.
    pub(crate) closed: bool,
    /// Pongs on their way to the replica.
    pub(crate) pongs: VecDeque<Vec<u8>>,
}

#[derive(Debug, Default)]
pub(crate) struct Links(pub(crate) Slab<Link>);

impl Links {
    pub(crate) fn open(&mut self, capacity: usize) -> usize {
        self.0.insert(Link {
            to_client: VecDeque::new(),
            capacity,
            blocked: false,
            cut: false,
            closed: false,
            pongs: VecDeque::new(),
        })
    }

    pub(crate) fn write(&mut self, link: usize, bytes: &[u8]) -> Written {
        let link = &mut self.0[link];
        assert!(!link.blocked, "a write to a stream that blocks");
        let taken = bytes.len().min(link.capacity - link.to_client.len().min(link.capacity));
        link.to_client.extend(&bytes[..taken]);
        if taken == bytes.len() {
            return Written::All;
        }
        link.blocked = true;
        Written::Partial(taken)
    }
}
