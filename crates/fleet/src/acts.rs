//! What happens from day to day, and how often.

use rand::RngExt;

use crate::mishaps::ACTS_BETWEEN;
use crate::names::{COMMENTS, GRADES};
use crate::render::usual_price;
use crate::state::{BunkerLine, BunkerOrder, EventLog, Id, Kind, Reason, Status};
use crate::time::{DAY_MS, HOUR_MS};
use crate::{CALLS_MAX, Fleet, OPEN_CARGOS_MAX, ORDERS_MAX};

/// Of 100 changes of result, so many are jumps of more than 20,000.
const JUMPS_PERCENT: u32 = 8;

impl Fleet {
    /// Lets something happen. May queue nothing, where the chosen thing cannot happen now.
    pub(crate) fn act(&mut self) {
        let Some(voyage) = self.pick_voyage() else {
            self.plan_voyage();
            return;
        };
        self.calm_acts = self.calm_acts.saturating_sub(1);
        if self.calm_acts == 0 && self.mishap() {
            self.calm_acts = ACTS_BETWEEN;
            return;
        }
        if self.chance(25) && self.plan_voyage() {
            return;
        }
        let current = self.current_call(voyage);
        let Some(call) = current else {
            self.wind_up(voyage);
            return;
        };
        match self.rng.random_range(0..100_u32) {
            0..24 => self.shift_eta(voyage, call),
            24..40 => self.advance(voyage, call),
            40..60 => self.recalculate(voyage),
            60..67 => self.change_cargo(voyage),
            67..75 => self.bunker(voyage, call),
            75..80 => self.invoice(voyage),
            80..85 => self.change_call(call),
            85..89 => self.comment(voyage),
            89..92 => self.drift_rates(),
            92..95 => self.insert_bunkering(voyage),
            95..97 => self.move_call(voyage),
            97..99 => self.reallocate(voyage),
            _ => self.cancel(voyage),
        }
    }

    pub(crate) fn pick_voyage(&mut self) -> Option<u64> {
        let voyages: Vec<u64> = self.world.voyages.iter().map(|voyage| voyage.key).collect();
        self.pick(&voyages)
    }

    /// The first port call that the ship has not left.
    pub(crate) fn current_call(&self, voyage: u64) -> Option<u64> {
        let voyage = self.world.voyage(voyage)?;
        self.world.calls_of(voyage).find(|call| !call.departure.is_fact).map(|call| call.key)
    }

    /// The calls of a voyage from `call` on.
    pub(crate) fn calls_from(&self, voyage: u64, call: u64) -> Vec<u64> {
        let calls = self.world.voyage(voyage).map(|voyage| voyage.calls.clone());
        calls.unwrap_or_default().into_iter().skip_while(|key| *key != call).collect()
    }

    /// The ship is early or late: ETA and ETD of this call and of all that follow move.
    fn shift_eta(&mut self, voyage: u64, call: u64) {
        let shift = self.rng.random_range(-8..=14) * HOUR_MS / 2;
        self.shift_from(voyage, call, shift);
    }

    /// Moves this call and all that follow.
    pub(crate) fn shift_from(&mut self, voyage: u64, call: u64, by_ms: i64) {
        for key in self.calls_from(voyage, call) {
            if let Some(call) = self.world.calls.get_mut(&key).filter(|call| call.lies_ahead()) {
                call.shift(by_ms);
                self.tell_of_call(key);
            }
        }
        if !self.steps.is_empty() {
            self.tell(Id { kind: Kind::Voyage, key: voyage });
        }
    }

    /// The voyage goes on: its status while it is planned, then arrival, berth, departure.
    fn advance(&mut self, voyage: u64, call: u64) {
        let Some(plan) = self.world.voyage_mut(voyage) else {
            return;
        };
        let next = match plan.status {
            Status::Estimated => Some(Status::Nominated),
            Status::Nominated => Some(Status::Operative),
            Status::Operative => None,
        };
        if let Some(next) = next {
            plan.status = next;
            let key = plan.header;
            self.tell(Id { kind: Kind::VoyageHeader, key });
            return;
        }
        let key = self.key();
        let wait = self.rng.random_range(1..9) * HOUR_MS;
        let Some(port_call) = self.world.calls.get_mut(&call) else {
            return;
        };
        let (is_moved, departure) =
            (port_call.berth.is_none() && !port_call.lies_ahead(), port_call.departure.key);
        let key = match port_call.berth {
            None if port_call.lies_ahead() => {
                port_call.arrival.is_fact = true;
                port_call.arrival.key
            }
            None => {
                let at_ms = port_call.arrival.at_ms + wait;
                port_call.berth = Some(EventLog { key, code: "BRT", at_ms, is_fact: true });
                // The stay was planned without the wait for a berth.
                port_call.departure.at_ms += wait;
                key
            }
            Some(_) => {
                port_call.departure.is_fact = true;
                port_call.departure.key
            }
        };
        self.tell(Id { kind: Kind::EventLog, key });
        if is_moved {
            self.tell(Id { kind: Kind::EventLog, key: departure });
        }
        self.tell(Id { kind: Kind::PortCall, key: call });
        self.tell(Id { kind: Kind::Voyage, key: voyage });
    }

    /// Days and result are calculated anew: the result drifts, and now and then it jumps.
    fn recalculate(&mut self, voyage: u64) {
        let percent = if self.chance(JUMPS_PERCENT) { 40..160 } else { 0..4 };
        let amount = self.rng.random_range(percent) * 60_000 + self.rng.random_range(0..50_000);
        let sign = if self.chance(50) { 1 } else { -1 };
        let offhire = i64::from(self.chance(5));
        if let Some(plan) = self.world.voyage_mut(voyage) {
            plan.result_cents += sign * amount;
            plan.offhire_hours += offhire;
            self.tell(Id { kind: Kind::Voyage, key: voyage });
        }
    }

    /// A cargo's quantity is measured anew, or its rate is agreed again.
    fn change_cargo(&mut self, voyage: u64) {
        let cargos = self.world.voyage(voyage).map(|voyage| voyage.cargos.clone());
        let Some(key) = self.pick(&cargos.unwrap_or_default()) else {
            return;
        };
        let (permille, cents) = (self.rng.random_range(-20..=20), self.rng.random_range(-60..=60));
        let Some(cargo) = self.world.cargos.get_mut(&key) else {
            return;
        };
        cargo.quantity = (cargo.quantity + cargo.quantity / 1_000 * permille).max(1_000_000);
        cargo.rate_cents = (cargo.rate_cents + cents).max(500);
        let ports = cargo.ports;
        self.tell(Id { kind: Kind::Cargo, key });
        for (key, _) in ports {
            self.tell(Id { kind: Kind::CargoPort, key });
        }
    }

    /// Orders bunkers against a port call, or changes quantity and price of an order.
    fn bunker(&mut self, voyage: u64, call: u64) {
        let calls = self.calls_from(voyage, call);
        let orders: Vec<u64> = calls
            .iter()
            .filter_map(|key| self.world.calls.get(key))
            .flat_map(|call| call.orders.iter().copied())
            .collect();
        if let Some(key) = self.pick(&orders).filter(|_| orders.len() >= ORDERS_MAX / 2) {
            self.change_order(key);
            return;
        }
        let ordered = self.world.voyage(voyage).map_or(ORDERS_MAX, |voyage| {
            self.world.calls_of(voyage).map(|call| call.orders.len()).sum()
        });
        if ordered < ORDERS_MAX {
            self.new_order(voyage, calls);
        }
    }

    pub(crate) fn new_order(&mut self, voyage: u64, mut calls: Vec<u64>) {
        calls.truncate(2);
        let supplier = self.rng.random_range(0..3);
        let call = self.pick(&calls).and_then(|key| self.world.calls.get(&key));
        let call = call.map(|call| (call.key, call.arrival.at_ms));
        let (Some((call, delivery_ms)), Some(vessel), Some(supplier)) = (
            call,
            self.world.voyage(voyage).map(|voyage| voyage.vessel),
            self.world.partner("SUPPLIER", supplier),
        ) else {
            return;
        };
        let key = self.key();
        let count = self.rng.random_range(1..=2);
        let first = self.rng.random_range(0..2);
        let lines = GRADES.iter().skip(first).take(count).map(|(grade, price)| BunkerLine {
            key: self.key(),
            grade,
            quantity: self.rng.random_range(80_000..900_000),
            price_cents: price + self.rng.random_range(-2_500..2_500),
        });
        let lines: Vec<BunkerLine> = lines.collect();
        self.tell_once(Id { kind: Kind::BusinessPartner, key: supplier.key });
        self.tell(Id { kind: Kind::BunkerOrder, key });
        for line in &lines {
            self.tell(Id { kind: Kind::BunkerOrderLine, key: line.key });
        }
        self.world
            .orders
            .insert(key, BunkerOrder { key, call, vessel, supplier, delivery_ms, lines });
        if let Some(call) = self.world.calls.get_mut(&call) {
            call.orders.push(key);
        }
    }

    fn change_order(&mut self, key: u64) {
        let (cents, tonnes) = (self.rng.random_range(-900..900), self.rng.random_range(-20..=20));
        let Some(order) = self.world.orders.get_mut(&key) else {
            return;
        };
        let Some(line) = order.lines.first_mut() else {
            return;
        };
        let usual = usual_price(line.grade);
        line.price_cents = (line.price_cents + cents).clamp(usual / 2, usual * 2);
        line.quantity = (line.quantity + tonnes * 1_000).max(10_000);
        let line = line.key;
        self.tell(Id { kind: Kind::BunkerOrderLine, key: line });
        self.tell(Id { kind: Kind::BunkerOrder, key });
    }

    fn invoice(&mut self, voyage: u64) {
        let document_type = if self.chance(50) { "INO" } else { "INI" };
        if !self.new_document(voyage, document_type) {
            self.settle_document(voyage);
        }
    }

    /// Speed, distance or agent of a call that lies ahead.
    fn change_call(&mut self, key: u64) {
        let (speed, miles, agent) =
            (self.rng.random_range(-60..=60), self.rng.random_range(-300..=300), self.chance(30));
        if let Some(call) = self.world.calls.get_mut(&key).filter(|call| call.lies_ahead()) {
            call.speed = (call.speed + speed).clamp(900, 1_700);
            call.distance = (call.distance + miles).max(1_000);
            call.has_agent ^= agent;
            self.tell(Id { kind: Kind::PortCall, key });
        }
    }

    fn comment(&mut self, voyage: u64) {
        let comment = self.pick(&COMMENTS);
        if let Some(plan) = self.world.voyage_mut(voyage) {
            plan.comment = comment;
            self.tell(Id { kind: Kind::Voyage, key: voyage });
        }
    }

    fn drift_rates(&mut self) {
        let index = self.rng.random_range(1..self.world.currencies.len().max(2));
        let drift = self.rng.random_range(-9..=9);
        let Some(currency) = self.world.currencies.get_mut(index) else {
            return;
        };
        currency.rate = (currency.rate + drift).max(1);
        let (key, rate_key) = (currency.key, currency.rate_key);
        self.tell_once(Id { kind: Kind::Currency, key });
        self.tell(Id { kind: Kind::ExchangeRate, key: rate_key });
    }

    fn insert_bunkering(&mut self, voyage: u64) {
        if let Some(key) = self.add_call(voyage, Reason::Bunkering) {
            self.tell_of_call(key);
            self.tell(Id { kind: Kind::Voyage, key: voyage });
        }
    }

    /// A bunkering call that lies ahead and has no order: it can be moved or dropped.
    fn free_call(&self, voyage: u64) -> Option<u64> {
        let voyage = self.world.voyage(voyage)?;
        let free = self.world.calls_of(voyage).find(|call| {
            call.reason == Reason::Bunkering && call.lies_ahead() && call.orders.is_empty()
        });
        free.map(|call| call.key)
    }

    /// Moves a bunkering call to another voyage.
    fn move_call(&mut self, from: u64) {
        let others: Vec<u64> = self
            .world
            .voyages
            .iter()
            .filter(|voyage| voyage.key != from && voyage.calls.len() < CALLS_MAX)
            .map(|voyage| voyage.key)
            .collect();
        let (Some(key), Some(to)) = (self.free_call(from), self.pick(&others)) else {
            return;
        };
        let joined = self.world.voyage(to);
        let ends_ms =
            joined.and_then(|voyage| self.world.calls_of(voyage).map(|c| c.departure.at_ms).max());
        for (voyage, joins) in [(from, false), (to, true)] {
            if let Some(voyage) = self.world.voyage_mut(voyage) {
                voyage.calls.retain(|call| *call != key);
                if joins {
                    voyage.calls.push(key);
                }
            }
        }
        if let Some(call) = self.world.calls.get_mut(&key) {
            call.voyage = to;
            call.shift(ends_ms.map_or(0, |ends| ends + DAY_MS - call.arrival.at_ms).max(0));
        }
        self.tell_of_call(key);
        for voyage in [from, to] {
            self.tell(Id { kind: Kind::Voyage, key: voyage });
        }
    }

    /// A cargo loses its voyage and waits for another.
    fn reallocate(&mut self, voyage: u64) {
        if self.open_cargos().len() >= OPEN_CARGOS_MAX {
            return;
        }
        let Some(key) = self.world.voyage_mut(voyage).and_then(|voyage| voyage.cargos.pop()) else {
            return;
        };
        if let Some(cargo) = self.world.cargos.get_mut(&key) {
            cargo.voyage = None;
            let [from, to] = &mut cargo.ports;
            (from.1, to.1) = (None, None);
            let ports = [from.0, to.0];
            self.tell(Id { kind: Kind::Cargo, key });
            for key in ports {
                self.tell(Id { kind: Kind::CargoPort, key });
            }
        }
        self.tell(Id { kind: Kind::Voyage, key: voyage });
    }

    /// Something planned is given up: a bunkering call, or a bunker order.
    fn cancel(&mut self, voyage: u64) {
        if let Some(key) = self.free_call(voyage) {
            if let Some(plan) = self.world.voyage_mut(voyage) {
                plan.calls.retain(|call| *call != key);
            }
            self.delete_call(key);
            self.tell(Id { kind: Kind::Voyage, key: voyage });
            return;
        }
        let Some(plan) = self.world.voyage(voyage) else {
            return;
        };
        let ahead = self.world.calls_of(plan).filter(|call| call.lies_ahead());
        let order =
            ahead.flat_map(|call| call.orders.iter().map(|order| (call.key, *order))).next();
        if let Some((call, order)) = order {
            if let Some(call) = self.world.calls.get_mut(&call) {
                call.orders.retain(|key| *key != order);
            }
            self.delete_order(order);
        }
    }
}
