//! How things end: invoices are settled, then the voyage goes with all it holds, parts before wholes.

use crate::Fleet;
use crate::state::{Document, Id, Kind};
use rand::RngExt;

impl Fleet {
    /// One step towards the end of a voyage that has left its last port.
    pub(crate) fn wind_up(&mut self, voyage: u64) -> bool {
        if self.new_document(voyage, "INO") || self.new_document(voyage, "INI") {
            return true;
        }
        self.settle_document(voyage) || self.delete_voyage(voyage)
    }

    /// Draws up an invoice, unless the voyage has one of this type.
    pub(crate) fn new_document(&mut self, voyage: u64, document_type: &'static str) -> bool {
        let Some(plan) = self.world.voyage(voyage) else {
            return false;
        };
        let types = plan.documents.iter().filter_map(|key| self.world.documents.get(key));
        if types.map(|document| document.document_type).any(|other| other == document_type) {
            return false;
        }
        let role = if document_type == "INO" { "CHARTERER" } else { "SUPPLIER" };
        let index = self.rng.random_range(0..3);
        let Some(partner) = self.world.partner(role, index) else {
            return false;
        };
        let key = self.key();
        let lines = self.rng.random_range(1..=3);
        let lines = (0..lines).map(|_| (self.key(), self.rng.random_range(100_000..90_000_000)));
        let lines: Vec<(u64, i64)> = lines.collect();
        self.tell_once(Id { kind: Kind::BusinessPartner, key: partner.key });
        self.tell(Id { kind: Kind::Document, key });
        for (key, _) in &lines {
            self.tell(Id { kind: Kind::DocumentLine, key: *key });
        }
        let document = Document { key, voyage, document_type, is_ready: false, partner, lines };
        self.world.documents.insert(key, document);
        if let Some(plan) = self.world.voyage_mut(voyage) {
            plan.documents.push(key);
        }
        true
    }

    /// Moves a pending document on: PEN to RFP.
    pub(crate) fn settle_document(&mut self, voyage: u64) -> bool {
        let mut pending = self.world.documents.values_mut();
        let Some(document) = pending.find(|d| d.voyage == voyage && !d.is_ready) else {
            return false;
        };
        document.is_ready = true;
        let key = document.key;
        self.tell(Id { kind: Kind::Document, key });
        true
    }

    fn delete_voyage(&mut self, key: u64) -> bool {
        let Some(index) = self.world.voyages.iter().position(|voyage| voyage.key == key) else {
            return false;
        };
        let voyage = self.world.voyages.remove(index);
        for document in &voyage.documents {
            let lines = self.world.documents.remove(document).map(|document| document.lines);
            for (key, _) in lines.into_iter().flatten() {
                self.take_back(Id { kind: Kind::DocumentLine, key });
            }
            self.take_back(Id { kind: Kind::Document, key: *document });
        }
        for cargo in &voyage.cargos {
            self.delete_cargo(*cargo);
        }
        for call in &voyage.calls {
            self.delete_call(*call);
        }
        self.take_back(Id { kind: Kind::Voyage, key });
        self.take_back(Id { kind: Kind::VoyageHeader, key: voyage.header });
        true
    }

    /// A cargo goes, its ports before it.
    pub(crate) fn delete_cargo(&mut self, key: u64) {
        let ports = self.world.cargos.remove(&key).map(|cargo| cargo.ports);
        for (key, _) in ports.into_iter().flatten() {
            self.take_back(Id { kind: Kind::CargoPort, key });
        }
        self.take_back(Id { kind: Kind::Cargo, key });
    }

    /// A port call goes, with its bunker orders and event logs before it.
    pub(crate) fn delete_call(&mut self, key: u64) {
        let Some(call) = self.world.calls.remove(&key) else {
            return;
        };
        for order in &call.orders {
            self.delete_order(*order);
        }
        for log in call.logs() {
            self.take_back(Id { kind: Kind::EventLog, key: log.key });
        }
        self.take_back(Id { kind: Kind::PortCall, key });
    }

    /// A bunker order goes, its lines before it.
    pub(crate) fn delete_order(&mut self, key: u64) {
        let lines = self.world.orders.remove(&key).map(|order| order.lines);
        for line in lines.into_iter().flatten() {
            self.take_back(Id { kind: Kind::BunkerOrderLine, key: line.key });
        }
        self.take_back(Id { kind: Kind::BunkerOrder, key });
    }
}
