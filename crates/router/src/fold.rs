//! The objects of a subscription, folded from records: the last image of each that still is.

use std::sync::Arc;

use hashbrown::HashMap;
use thiserror::Error;
use tidewire_event::{ObjectKey, ObjectType, Operation};
use tidewire_log::LogRecord;
use tidewire_model::Model;
use tidewire_wire::definition::Definition;

use crate::decode::{Decoded, decode};
use crate::event::RoutedEvent;
use crate::interest::InterestTable;
use crate::recent::Recent;

/// A snapshot is larger than it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the snapshot has more than {objects_max} objects or {bytes_max} bytes")]
pub struct FoldTooLarge {
    /// Most objects.
    pub objects_max: usize,
    /// Most bytes of their records.
    pub bytes_max: usize,
}

/// Folds records into objects. Records of one object must come in order.
#[derive(Debug)]
pub struct Fold {
    interest: InterestTable,
    recent: Recent,
    objects: HashMap<(ObjectType, ObjectKey), Arc<RoutedEvent>>,
    bytes: usize,
    limit: FoldTooLarge,
}

impl Fold {
    /// For the objects that a definition names; whatever its events and its hierarchy.
    #[must_use]
    pub fn new(model: Arc<Model>, definition: &Definition, limit: FoldTooLarge) -> Self {
        let mut interest = InterestTable::new(model);
        interest.add(0, &Definition { only_main_object: true, ..definition.clone() });
        Self { interest, recent: Recent::default(), objects: HashMap::new(), bytes: 0, limit }
    }

    /// Takes a record. One that is poison went to quarantine when it came.
    ///
    /// # Errors
    /// [`FoldTooLarge`].
    pub fn take(&mut self, record: &LogRecord<'_>) -> Result<(), FoldTooLarge> {
        let Ok(Decoded::Event(event, _)) = decode(&self.interest, &mut self.recent, record) else {
            return Ok(());
        };
        let key = (event.route.object_type.clone(), event.key.clone());
        let size = |event: &RoutedEvent| event.payload().map_or(0, bytes::Bytes::len);
        let former = if event.operation == Operation::Delete {
            self.objects.remove(&key)
        } else {
            self.bytes += size(&event);
            self.objects.insert(key, Arc::new(*event))
        };
        self.bytes -= former.map_or(0, |former| size(&former));
        if self.objects.len() > self.limit.objects_max || self.bytes > self.limit.bytes_max {
            return Err(self.limit);
        }
        Ok(())
    }

    /// The objects, in the order of their records.
    #[must_use]
    pub fn finish(self) -> Arc<[Arc<RoutedEvent>]> {
        let mut objects: Vec<_> = self.objects.into_values().collect();
        objects.sort_unstable_by_key(|event| (event.id.partition.0, event.id.offset.0));
        objects.into()
    }
}
