//! What a desk wants to be told of at once. These things come in turn, so that whoever watches a fleet for a
//! minute has seen each kind: they are what the sample alert scripts are about.

use rand::RngExt;

use crate::Fleet;
use crate::render::usual_price;
use crate::state::{BunkerLine, Id, Kind, PortCall};
use crate::time::{DAY_MS, HOUR_MS};

/// So many acts lie between two of them.
pub(crate) const ACTS_BETWEEN: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    ResultJump,
    PriceRise,
    LateForLaycan,
    Offhire,
    OtherQuantity,
    LongStay,
    LateBarge,
}

const MISHAPS: [Mishap; 7] = [
    Mishap::ResultJump,
    Mishap::PriceRise,
    Mishap::LateForLaycan,
    Mishap::Offhire,
    Mishap::OtherQuantity,
    Mishap::LongStay,
    Mishap::LateBarge,
];

impl Fleet {
    /// Lets the next of them happen that can. False if none can.
    pub(crate) fn mishap(&mut self) -> bool {
        (0..MISHAPS.len()).any(|_| {
            let mishap = MISHAPS.get(self.next_mishap % MISHAPS.len()).copied();
            self.next_mishap += 1;
            mishap.is_some_and(|mishap| self.happen(mishap).is_some())
        })
    }

    fn happen(&mut self, mishap: Mishap) -> Option<()> {
        let is_of_bunkers =
            matches!(mishap, Mishap::PriceRise | Mishap::OtherQuantity | Mishap::LateBarge);
        if is_of_bunkers && self.world.orders.is_empty() {
            return self.order_bunkers();
        }
        match mishap {
            Mishap::ResultJump => self.result_jumps(),
            Mishap::Offhire => self.go_off_hire(),
            Mishap::LateForLaycan => self.miss_the_laycan(),
            Mishap::LongStay => self.stay_longer(),
            Mishap::LateBarge => self.barge_comes_later(),
            Mishap::PriceRise => {
                let by = self.rng.random_range(6..9);
                let is_usual = |line: &BunkerLine| line.price_cents <= usual_price(line.grade);
                self.change_line(is_usual, |line| {
                    line.price_cents = usual_price(line.grade) * (100 + by) / 100;
                })
            }
            Mishap::OtherQuantity => {
                let percent = self.rng.random_range(108..130);
                self.change_line(|_| true, |line| line.quantity = line.quantity * percent / 100)
            }
        }
    }

    fn order_bunkers(&mut self) -> Option<()> {
        let voyage = self.pick_voyage()?;
        let call = self.current_call(voyage)?;
        self.new_order(voyage, self.calls_from(voyage, call));
        Some(())
    }

    fn result_jumps(&mut self) -> Option<()> {
        let key = self.pick_voyage()?;
        let sign = if self.chance(50) { 1 } else { -1 };
        let dollars = self.rng.random_range(21_000..65_000);
        self.world.voyage_mut(key)?.result_cents += sign * dollars * 100;
        self.tell(Id { kind: Kind::Voyage, key });
        Some(())
    }

    fn go_off_hire(&mut self) -> Option<()> {
        let on_hire = self.world.voyages.iter().filter(|voyage| voyage.offhire_hours == 0);
        let on_hire: Vec<u64> = on_hire.map(|voyage| voyage.key).collect();
        let key = self.pick(&on_hire)?;
        let hours = self.rng.random_range(3..40);
        self.world.voyage_mut(key)?.offhire_hours += hours;
        self.tell(Id { kind: Kind::Voyage, key });
        Some(())
    }

    /// The calls that a ship has not arrived at and that are as `is_it` says.
    fn pick_call(&mut self, is_it: impl Fn(&PortCall) -> bool) -> Option<(u64, u64)> {
        let ahead = self.world.calls.values().filter(|call| call.lies_ahead() && is_it(call));
        let calls: Vec<(u64, u64)> = ahead.map(|call| (call.voyage, call.key)).collect();
        self.pick(&calls)
    }

    fn miss_the_laycan(&mut self) -> Option<()> {
        let is_in_time = |call: &PortCall| {
            let (from, to) = call.laycan_ms?;
            (from..=to).contains(&call.arrival.at_ms).then_some(to - call.arrival.at_ms)
        };
        let (voyage, call) = self.pick_call(|call| is_in_time(call).is_some())?;
        let left_ms = is_in_time(self.world.calls.get(&call)?)?;
        let hours = self.rng.random_range(3..30);
        self.shift_from(voyage, call, left_ms + hours * HOUR_MS);
        Some(())
    }

    fn stay_longer(&mut self) -> Option<()> {
        let stay = |call: &PortCall| call.departure.at_ms - call.arrival.at_ms;
        let (voyage, key) = self.pick_call(|call| stay(call) <= 4 * DAY_MS)?;
        let longer = 4 * DAY_MS + self.rng.random_range(6..48) * HOUR_MS;
        let call = self.world.calls.get_mut(&key)?;
        let by_ms = longer - stay(call);
        call.departure.at_ms += by_ms;
        self.tell_of_call(key);
        match self.calls_from(voyage, key).get(1).copied() {
            Some(next) => self.shift_from(voyage, next, by_ms),
            None => self.tell(Id { kind: Kind::Voyage, key: voyage }),
        }
        Some(())
    }

    /// The order is for a day other than that on which the ship comes.
    fn barge_comes_later(&mut self) -> Option<()> {
        let orders: Vec<u64> = self.world.orders.keys().copied().collect();
        let key = self.pick(&orders)?;
        let hours = self.rng.random_range(20..60);
        let arrival_ms = self.world.calls.get(&self.world.orders.get(&key)?.call)?.arrival.at_ms;
        let order = self.world.orders.get_mut(&key)?;
        order.delivery_ms = arrival_ms + hours * HOUR_MS;
        for line in order.lines.clone() {
            self.tell(Id { kind: Kind::BunkerOrderLine, key: line.key });
        }
        self.tell(Id { kind: Kind::BunkerOrder, key });
        Some(())
    }

    fn change_line(
        &mut self,
        is_it: impl Fn(&BunkerLine) -> bool,
        change: impl FnOnce(&mut BunkerLine),
    ) -> Option<()> {
        let lines = self.world.orders.values().flat_map(|order| {
            order.lines.iter().filter(|line| is_it(line)).map(|line| (order.key, line.key))
        });
        let lines: Vec<(u64, u64)> = lines.collect();
        let (order, key) = self.pick(&lines)?;
        let lines = &mut self.world.orders.get_mut(&order)?.lines;
        change(lines.iter_mut().find(|line| line.key == key)?);
        self.tell(Id { kind: Kind::BunkerOrderLine, key });
        self.tell(Id { kind: Kind::BunkerOrder, key: order });
        Some(())
    }
}
