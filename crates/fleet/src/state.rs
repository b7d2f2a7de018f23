//! The state of the simulated world, typed. `render` turns a part of it into an object's image.

use std::collections::BTreeMap;

use crate::names::PortName;

/// The types that the fleet changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Currency,
    ExchangeRate,
    Company,
    BusinessUnit,
    User,
    BusinessPartner,
    Port,
    Vessel,
    VoyageHeader,
    Voyage,
    PortCall,
    EventLog,
    Cargo,
    CargoPort,
    BunkerOrder,
    BunkerOrderLine,
    Document,
    DocumentLine,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Currency => "Currency",
            Self::ExchangeRate => "ExchangeRate",
            Self::Company => "Company",
            Self::BusinessUnit => "BusinessUnit",
            Self::User => "User",
            Self::BusinessPartner => "BusinessPartner",
            Self::Port => "Port",
            Self::Vessel => "Vessel",
            Self::VoyageHeader => "VoyageHeader",
            Self::Voyage => "Voyage",
            Self::PortCall => "PortCall",
            Self::EventLog => "EventLog",
            Self::Cargo => "Cargo",
            Self::CargoPort => "CargoPort",
            Self::BunkerOrder => "BunkerOrder",
            Self::BunkerOrderLine => "BunkerOrderLine",
            Self::Document => "Document",
            Self::DocumentLine => "DocumentLine",
        }
    }
}

/// One object of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) kind: Kind,
    pub(crate) key: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Currency {
    pub(crate) key: u64,
    pub(crate) rate_key: u64,
    pub(crate) code: &'static str,
    /// Ten-thousandths of a dollar for one unit.
    pub(crate) rate: i64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) key: u64,
    pub(crate) name: PortName,
    /// The agent who serves there.
    pub(crate) agent: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Partner {
    pub(crate) key: u64,
    pub(crate) role: &'static str,
    /// The name, or for an agent the port's.
    pub(crate) name: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Vessel {
    pub(crate) key: u64,
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) imo: u32,
    pub(crate) owner: Partner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Estimated,
    Nominated,
    Operative,
}

#[derive(Clone, Debug)]
pub(crate) struct Voyage {
    pub(crate) key: u64,
    pub(crate) header: u64,
    pub(crate) vessel: Vessel,
    pub(crate) number: u32,
    pub(crate) start_ms: i64,
    pub(crate) status: Status,
    /// In the order in which they are called.
    pub(crate) calls: Vec<u64>,
    pub(crate) cargos: Vec<u64>,
    pub(crate) documents: Vec<u64>,
    pub(crate) comment: Option<&'static str>,
    pub(crate) result_cents: i64,
    pub(crate) canal_cents: i64,
    pub(crate) offhire_hours: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Load,
    Discharge,
    Bunkering,
}

/// What happens at a port call: an estimate until it is a fact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventLog {
    pub(crate) key: u64,
    pub(crate) code: &'static str,
    pub(crate) at_ms: i64,
    pub(crate) is_fact: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct PortCall {
    pub(crate) key: u64,
    pub(crate) voyage: u64,
    pub(crate) reason: Reason,
    pub(crate) port: Port,
    pub(crate) has_agent: bool,
    /// Hundredths of a knot.
    pub(crate) speed: i64,
    /// Tenths of a nautical mile from the call before.
    pub(crate) distance: i64,
    /// ARR: the estimate of it from the start.
    pub(crate) arrival: EventLog,
    /// BRT, once the ship has berthed.
    pub(crate) berth: Option<EventLog>,
    /// DEP: the estimate of it from the start.
    pub(crate) departure: EventLog,
    /// From when to when the charterer takes the ship, where it loads.
    pub(crate) laycan_ms: Option<(i64, i64)>,
    /// The bunker orders against this call.
    pub(crate) orders: Vec<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Cargo {
    pub(crate) key: u64,
    /// None while unallocated.
    pub(crate) voyage: Option<u64>,
    pub(crate) commodity: &'static str,
    pub(crate) charterer: Partner,
    /// Thousandths of a tonne.
    pub(crate) quantity: i64,
    pub(crate) rate_cents: i64,
    /// The keys of the load and the discharge CargoPort, and the calls where that happens.
    pub(crate) ports: [(u64, Option<u64>); 2],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BunkerLine {
    pub(crate) key: u64,
    pub(crate) grade: &'static str,
    /// Thousandths of a tonne.
    pub(crate) quantity: i64,
    pub(crate) price_cents: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct BunkerOrder {
    pub(crate) key: u64,
    pub(crate) call: u64,
    pub(crate) vessel: Vessel,
    pub(crate) supplier: Partner,
    /// When the ship was to arrive as the order was given.
    pub(crate) delivery_ms: i64,
    pub(crate) lines: Vec<BunkerLine>,
}

#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) key: u64,
    pub(crate) voyage: u64,
    /// INO (outgoing freight invoice) or INI (incoming invoice).
    pub(crate) document_type: &'static str,
    pub(crate) is_ready: bool,
    pub(crate) partner: Partner,
    /// Keys and amounts in cents.
    pub(crate) lines: Vec<(u64, i64)>,
}

/// All there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) company: u64,
    pub(crate) business_unit: u64,
    pub(crate) users: Vec<u64>,
    pub(crate) currencies: Vec<Currency>,
    pub(crate) ports: Vec<Port>,
    pub(crate) partners: BTreeMap<u64, Partner>,
    pub(crate) vessels: Vec<Vessel>,
    pub(crate) voyages: Vec<Voyage>,
    pub(crate) calls: BTreeMap<u64, PortCall>,
    pub(crate) cargos: BTreeMap<u64, Cargo>,
    pub(crate) orders: BTreeMap<u64, BunkerOrder>,
    pub(crate) documents: BTreeMap<u64, Document>,
}

impl PortCall {
    /// ARR, BRT, DEP, in this order.
    pub(crate) fn logs(&self) -> impl Iterator<Item = EventLog> + use<> {
        [Some(self.arrival), self.berth, Some(self.departure)].into_iter().flatten()
    }

    /// Whether the ship has not arrived yet.
    pub(crate) const fn lies_ahead(&self) -> bool {
        !self.arrival.is_fact
    }

    /// Moves the estimates.
    pub(crate) const fn shift(&mut self, by_ms: i64) {
        self.arrival.at_ms += by_ms;
        self.departure.at_ms += by_ms;
    }
}

impl World {
    pub(crate) fn voyage(&self, key: u64) -> Option<&Voyage> {
        self.voyages.iter().find(|voyage| voyage.key == key)
    }

    pub(crate) fn voyage_mut(&mut self, key: u64) -> Option<&mut Voyage> {
        self.voyages.iter_mut().find(|voyage| voyage.key == key)
    }

    pub(crate) fn calls_of<'a>(
        &'a self,
        voyage: &'a Voyage,
    ) -> impl Iterator<Item = &'a PortCall> + use<'a> {
        voyage.calls.iter().filter_map(|key| self.calls.get(key))
    }

    pub(crate) fn partner(&self, role: &str, index: usize) -> Option<Partner> {
        self.partners.values().filter(|partner| partner.role == role).nth(index).copied()
    }

    /// The objects that a change of `id` is also an update of, near ones first.
    pub(crate) fn owners(&self, id: Id) -> Vec<Id> {
        let mut out = Vec::new();
        self.add_owners(id, &mut out);
        out
    }

    fn add_owners(&self, id: Id, out: &mut Vec<Id>) {
        let parents: Vec<Id> = match id.kind {
            Kind::Voyage => {
                let header = self.voyage(id.key).map(|voyage| voyage.header);
                header.map(|key| Id { kind: Kind::VoyageHeader, key }).into_iter().collect()
            }
            Kind::PortCall => self.calls.get(&id.key).map_or_else(Vec::new, |call| {
                let orders =
                    call.orders.iter().map(|key| Id { kind: Kind::BunkerOrder, key: *key });
                std::iter::once(Id { kind: Kind::Voyage, key: call.voyage }).chain(orders).collect()
            }),
            Kind::EventLog => self.parent(Kind::PortCall, || {
                self.calls.values().find(|c| c.logs().any(|l| l.key == id.key)).map(|c| c.key)
            }),
            Kind::Cargo => {
                self.parent(Kind::Voyage, || self.cargos.get(&id.key).and_then(|c| c.voyage))
            }
            Kind::CargoPort => self.parent(Kind::Cargo, || {
                self.cargos.values().find(|c| c.ports.iter().any(|p| p.0 == id.key)).map(|c| c.key)
            }),
            Kind::BunkerOrderLine => self.parent(Kind::BunkerOrder, || {
                self.orders
                    .values()
                    .find(|o| o.lines.iter().any(|l| l.key == id.key))
                    .map(|o| o.key)
            }),
            Kind::DocumentLine => self.parent(Kind::Document, || {
                self.documents
                    .values()
                    .find(|d| d.lines.iter().any(|l| l.0 == id.key))
                    .map(|d| d.key)
            }),
            _ => Vec::new(),
        };
        for parent in parents {
            if !out.contains(&parent) {
                out.push(parent);
                self.add_owners(parent, out);
            }
        }
    }

    fn parent(&self, kind: Kind, key: impl FnOnce() -> Option<u64>) -> Vec<Id> {
        key().map(|key| Id { kind, key }).into_iter().collect()
    }
}
