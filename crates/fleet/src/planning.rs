//! What comes into being: the world at the start, voyages, port calls, cargoes.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::names::{CHARTERERS, COMMODITIES, CURRENCIES, OWNERS, PORTS, SUPPLIERS, VESSELS};
use crate::state::{
    Cargo, Currency, EventLog, Id, Kind, Partner, Port, PortCall, Reason, Status, Vessel, Voyage,
    World,
};
use crate::time::{DAY_MS, HOUR_MS};
use crate::{CALLS_MAX, Fleet, OPEN_CARGOS_MAX, VOYAGES_MAX};

impl World {
    /// Ports, vessels and partners; no voyage yet. Keys are given from `next_key` on.
    pub(crate) fn start(rng: &mut StdRng, next_key: &mut u64) -> Self {
        let mut key = || {
            *next_key += 1;
            *next_key
        };
        let (company, business_unit) = (key(), key());
        let users = (0..6).map(|_| key()).collect();
        let currencies = CURRENCIES
            .iter()
            .map(|(code, rate)| Currency { key: key(), rate_key: key(), code, rate: *rate })
            .collect();
        let mut partners = BTreeMap::new();
        for (role, names) in
            [("CHARTERER", &CHARTERERS[..]), ("SUPPLIER", &SUPPLIERS), ("OWNER", &OWNERS)]
        {
            for name in names {
                let key = key();
                partners.insert(key, Partner { key, role, name });
            }
        }
        let ports = PORTS.iter().map(|name| Port { key: key(), name: *name, agent: key() });
        let ports: Vec<Port> = ports.collect();
        for port in &ports {
            let agent = Partner { key: port.agent, role: "AGENT", name: port.name.name };
            partners.insert(agent.key, agent);
        }
        let owners: Vec<Partner> =
            partners.values().filter(|partner| partner.role == "OWNER").copied().collect();
        let vessels = VESSELS.iter().filter_map(|(code, name, imo)| {
            let owner = *owners.get(rng.random_range(0..owners.len()))?;
            Some(Vessel { key: key(), code, name, imo: *imo, owner })
        });
        let vessels = vessels.collect();
        Self {
            company,
            business_unit,
            users,
            currencies,
            ports,
            partners,
            vessels,
            voyages: Vec::new(),
            calls: BTreeMap::new(),
            cargos: BTreeMap::new(),
            orders: BTreeMap::new(),
            documents: BTreeMap::new(),
        }
    }
}

impl Fleet {
    /// Plans a voyage: its header, port calls and cargoes. False if there are enough.
    pub(crate) fn plan_voyage(&mut self) -> bool {
        if self.world.voyages.len() >= VOYAGES_MAX {
            return false;
        }
        let Some(vessel) = self.pick(&self.world.vessels.clone()) else {
            return false;
        };
        let known = [
            (Kind::Company, self.world.company),
            (Kind::BusinessUnit, self.world.business_unit),
            (Kind::User, self.actor),
            (Kind::BusinessPartner, vessel.owner.key),
            (Kind::Vessel, vessel.key),
        ];
        for (kind, key) in known {
            self.tell_once(Id { kind, key });
        }
        if let Some(dollar) = self.world.currencies.first().copied() {
            self.tell_once(Id { kind: Kind::Currency, key: dollar.key });
        }
        let (header, key) = (self.key(), self.key());
        let voyage = Voyage {
            key,
            header,
            vessel,
            number: self.rng.random_range(1..1_000),
            start_ms: self.now_ms + self.rng.random_range(0..5 * DAY_MS),
            status: Status::Estimated,
            calls: Vec::new(),
            cargos: Vec::new(),
            documents: Vec::new(),
            comment: None,
            result_cents: self.rng.random_range(-5_000_000..60_000_000),
            canal_cents: if self.chance(25) {
                self.rng.random_range(9_000_000..30_000_000)
            } else {
                0
            },
            offhire_hours: 0,
        };
        self.world.voyages.push(voyage);
        let pairs = self.rng.random_range(1..=2);
        let mut calls = Vec::new();
        for reason in [Reason::Load, Reason::Discharge] {
            for _ in 0..pairs {
                calls.extend(self.add_call(key, reason));
            }
        }
        self.tell(Id { kind: Kind::VoyageHeader, key: header });
        self.tell(Id { kind: Kind::Voyage, key });
        for call in &calls {
            self.tell_of_call(*call);
        }
        for (load, discharge) in calls.iter().take(pairs).zip(calls.iter().skip(pairs)) {
            let cargo = self.new_cargo();
            self.allocate(cargo, key, *load, *discharge);
        }
        self.tell(Id { kind: Kind::Voyage, key });
        true
    }

    /// Appends a port call to a voyage, without telling of it. Its port is told of.
    pub(crate) fn add_call(&mut self, voyage: u64, reason: Reason) -> Option<u64> {
        let port = self.pick(&self.world.ports.clone())?;
        let key = self.key();
        let plan = self.world.voyage(voyage).filter(|voyage| voyage.calls.len() < CALLS_MAX)?;
        let left =
            self.world.calls_of(plan).last().map_or(plan.start_ms, |call| call.departure.at_ms);
        let speed = self.rng.random_range(1_050..1_450);
        let distance = self.rng.random_range(4_000..62_000);
        // Tenths of a mile over hundredths of a knot: ten times too few hours.
        let eta_ms = left + distance * 10 * HOUR_MS / speed;
        let stay = match reason {
            Reason::Load | Reason::Discharge => self.rng.random_range(20..96),
            Reason::Bunkering => self.rng.random_range(6..16),
        };
        let call = PortCall {
            key,
            voyage,
            reason,
            port,
            has_agent: self.chance(70),
            speed,
            distance,
            arrival: EventLog { key: self.key(), code: "ARR", at_ms: eta_ms, is_fact: false },
            berth: None,
            departure: EventLog {
                key: self.key(),
                code: "DEP",
                at_ms: eta_ms + stay * HOUR_MS,
                is_fact: false,
            },
            laycan_ms: (reason == Reason::Load)
                .then_some((eta_ms - 6 * HOUR_MS, eta_ms + 12 * HOUR_MS)),
            orders: Vec::new(),
        };
        self.world.calls.insert(key, call);
        if let Some(plan) = self.world.voyage_mut(voyage) {
            plan.calls.push(key);
        }
        self.tell_once(Id { kind: Kind::Port, key: port.key });
        self.tell_once(Id { kind: Kind::BusinessPartner, key: port.agent });
        Some(key)
    }

    /// Tells of a port call and its event logs.
    pub(crate) fn tell_of_call(&mut self, key: u64) {
        self.tell(Id { kind: Kind::PortCall, key });
        let logs = self.world.calls.get(&key).map(PortCall::logs);
        for log in logs.into_iter().flatten() {
            self.tell(Id { kind: Kind::EventLog, key: log.key });
        }
    }

    /// A cargo without a voyage: one that waits, or a new one. Not told of yet.
    pub(crate) fn new_cargo(&mut self) -> Option<u64> {
        let open = self.open_cargos();
        if let Some(waiting) = self.pick(&open).filter(|_| open.len() >= OPEN_CARGOS_MAX / 2) {
            return Some(waiting);
        }
        let commodity = self.pick(&COMMODITIES)?;
        let index = self.rng.random_range(0..CHARTERERS.len());
        let charterer = self.world.partner("CHARTERER", index)?;
        let (key, load, discharge) = (self.key(), self.key(), self.key());
        let cargo = Cargo {
            key,
            voyage: None,
            commodity,
            charterer,
            quantity: self.rng.random_range(8_000_000..76_000_000),
            rate_cents: self.rng.random_range(900..5_200),
            ports: [(load, None), (discharge, None)],
        };
        self.world.cargos.insert(key, cargo);
        self.tell_once(Id { kind: Kind::BusinessPartner, key: charterer.key });
        Some(key)
    }

    /// Cargoes that wait for a voyage.
    pub(crate) fn open_cargos(&self) -> Vec<u64> {
        let open = self.world.cargos.values().filter(|cargo| cargo.voyage.is_none());
        open.map(|cargo| cargo.key).collect()
    }

    /// Gives a cargo to a voyage, and tells of it and its two ports.
    pub(crate) fn allocate(&mut self, cargo: Option<u64>, voyage: u64, load: u64, discharge: u64) {
        let Some(cargo) = cargo.and_then(|key| self.world.cargos.get_mut(&key)) else {
            return;
        };
        cargo.voyage = Some(voyage);
        let [from, to] = &mut cargo.ports;
        (from.1, to.1) = (Some(load), Some(discharge));
        let (key, ports) = (cargo.key, [from.0, to.0]);
        if let Some(voyage) = self.world.voyage_mut(voyage) {
            voyage.cargos.push(key);
        }
        self.tell(Id { kind: Kind::Cargo, key });
        for key in ports {
            self.tell(Id { kind: Kind::CargoPort, key });
        }
    }
}
