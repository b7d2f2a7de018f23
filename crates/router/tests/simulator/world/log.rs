//! What is written to the log, and what befalls it.

use super::*;

impl World {
    pub(super) fn append(&mut self) {
        let tenant = if self.chance(20) { "other" } else { "acme" };
        let object_type = ["Voyage", "Voyage", "Cargo", "PortCall"][self.random.random_range(0..4)];
        let key = self.random.random_range(1..16);
        // Where it was first: the order of an object holds in its partition.
        let partitions = self.log.now().parts.len();
        let any = self.random.random_range(0..partitions);
        let partition = *self.homes.entry((tenant, object_type, key)).or_insert(any);
        let padding = [10, 400, 3_000][self.random.random_range(0..3)];
        if tenant == "other" {
            self.log.append(partition, tenant, object_type, key, Operation::Update, padding);
            return;
        }
        let known = self.objects.entry((object_type, key)).or_default();
        let last = known.last().map(|number| self.log.records[*number].operation);
        let roll = self.random.random_range(0..10);
        let operation = match last {
            None | Some(Operation::Delete) => Operation::Create,
            Some(_) if roll < 2 => Operation::Delete,
            Some(_) => Operation::Update,
        };
        let number = self.log.append(partition, tenant, object_type, key, operation, padding);
        known.push(number);
        if operation == Operation::Update && roll == 9 {
            self.log.append_again(number);
        }
        if self.random.random_range(0..6) == 0 {
            let partition = self.random.random_range(0..self.log.now().parts.len());
            let length = self.random.random_range(1..4);
            self.log.hole(partition, length, !self.harsh);
        }
    }

    pub(super) fn befall_log(&mut self) {
        let partitions = self.log.now().parts.len();
        let partition = self.random.random_range(0..partitions);
        match self.random.random_range(0..100) {
            0..10 => self.log.elect(partition),
            10..14 if partitions < 7 => self.log.add_partition(),
            // A replica that has read no record of a partition does not know its epoch and cannot tell: a
            // log whose records are all gone is not cut below them either.
            14..22
                if self.harsh
                    && self.replicas.iter().flatten().all(|r| r.knows_epoch(partition)) =>
            {
                let records = self.random.random_range(1..12);
                self.log.cut(partition, records);
                // Markers do not show their epoch: behind markers alone a position of before would look good.
                self.log.append(partition, "other", "Voyage", 1, Operation::Update, 10);
                let log = &self.log;
                for known in self.objects.values_mut() {
                    known.retain(|number| log.records[*number].versions.1 == usize::MAX);
                }
            }
            22..34 if self.harsh => {
                let part = &self.log.now().parts[partition];
                let offset = self.random.random_range(part.start..=part.end);
                self.log.retain_from(partition, offset);
            }
            34..37 if self.harsh => {
                let partitions = self.random.random_range(1..5);
                self.log.create(partitions);
                self.objects.clear();
                self.homes.clear();
            }
            _ => {}
        }
    }
}
