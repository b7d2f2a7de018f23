//! Images: an object of the world as the JSON that the VMS would hand out, with the members of the
//! sample model. Referenced objects carry the few members that the VMS shows with them.

use serde_json::{Map, Number, Value, json};

use crate::names::GRADES;
use crate::state::{
    BunkerOrder, Cargo, Document, Id, Kind, Partner, Port, PortCall, Reason, Status, Vessel,
    Voyage, World,
};
use crate::time::{DAY_MS, date_time, year};

/// Who made an object and who changed it, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) created_ms: i64,
    pub(crate) created_by: u64,
    pub(crate) changed_ms: i64,
    pub(crate) changed_by: u64,
}

/// Draws images.
pub(crate) struct Renderer<'a> {
    pub(crate) world: &'a World,
    pub(crate) self_base: &'a str,
}

/// A decimal number of `scale` digits behind the point, written out: an amount keeps its zeros.
fn decimal(value: i64, scale: u32) -> Value {
    let unit = 10_u64.pow(scale);
    let (whole, part) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    let sign = if value < 0 { "-" } else { "" };
    let text = format!("{sign}{whole}.{part:0width$}", width = scale as usize);
    text.parse::<Number>().map_or(Value::Null, Value::Number)
}

fn days(ms: i64) -> Value {
    decimal(ms * 100 / DAY_MS, 2)
}

impl Renderer<'_> {
    /// The image of one object; `None` if the world has no such object.
    pub(crate) fn image(&self, id: Id, stamp: Stamp) -> Option<Value> {
        let own = self.members(id)?;
        let mut out = Map::new();
        out.insert("key".into(), id.key.into());
        out.insert("self".into(), self.link(id).into());
        if let Value::Object(members) = own {
            out.extend(members);
        }
        out.insert("createdDate".into(), date_time(stamp.created_ms).into());
        out.insert("modifiedDate".into(), date_time(stamp.changed_ms).into());
        out.insert("createdById".into(), stamp.created_by.into());
        out.insert("changedById".into(), stamp.changed_by.into());
        out.insert("externalObjectKey".into(), Value::Null);
        Some(Value::Object(out))
    }

    fn link(&self, id: Id) -> String {
        format!("{}/ws/rest/{}/{}", self.self_base, id.kind.name(), id.key)
    }

    /// A reference with a few members of the object behind it.
    fn reference(&self, kind: Kind, key: u64, members: Value) -> Value {
        let mut out = Map::new();
        out.insert("key".into(), key.into());
        out.insert("self".into(), self.link(Id { kind, key }).into());
        if let Value::Object(members) = members {
            out.extend(members);
        }
        Value::Object(out)
    }

    fn bare(&self, kind: Kind, key: u64) -> Value {
        self.reference(kind, key, Value::Null)
    }

    fn members(&self, id: Id) -> Option<Value> {
        let world = self.world;
        match id.kind {
            Kind::Currency => {
                let currency = world.currencies.iter().find(|c| c.key == id.key)?;
                Some(json!({"codeProperty": "currencyCode", "currencyCode": currency.code}))
            }
            Kind::ExchangeRate => {
                let currency = world.currencies.iter().find(|c| c.rate_key == id.key)?;
                Some(json!({
                    "currency": self.reference(
                        Kind::Currency, currency.key, json!({"currencyCode": currency.code})),
                    "rate": decimal(currency.rate, 4),
                }))
            }
            Kind::Company => Some(json!({"codeProperty": "companyCode", "companyCode": "TIDE",
                "companyName": "Sample Shipping Company"})),
            Kind::BusinessUnit => Some(json!({"codeProperty": "businessUnitCode",
                "businessUnitCode": "BULK", "company": self.company()})),
            Kind::User => {
                let number = world.users.iter().position(|key| *key == id.key)? + 1;
                Some(json!({"codeProperty": "userName", "userName": format!("operator{number}"),
                    "businessUnit": self.bare(Kind::BusinessUnit, world.business_unit)}))
            }
            Kind::BusinessPartner => {
                let partner = world.partners.get(&id.key)?;
                Some(json!({"codeProperty": "businessPartnerCode",
                    "businessPartnerCode": format!("BP{}", id.key % 10_000),
                    "businessPartnerName": partner_name(partner), "partnerRole": partner.role}))
            }
            Kind::Port => {
                let port = world.ports.iter().find(|port| port.key == id.key)?;
                Some(json!({"codeProperty": "unCode", "portName": port.name.name,
                    "unCode": port.name.un_code, "timezone": port.name.timezone}))
            }
            Kind::Vessel => {
                let vessel = world.vessels.iter().find(|vessel| vessel.key == id.key)?;
                Some(json!({"codeProperty": "vesselCode", "vesselCode": vessel.code,
                    "vesselName": vessel.name, "imoNumber": vessel.imo.to_string(),
                    "owner": self.partner(&vessel.owner)}))
            }
            Kind::VoyageHeader => {
                let voyage = world.voyages.iter().find(|voyage| voyage.header == id.key)?;
                Some(self.voyage_header(voyage))
            }
            Kind::Voyage => world.voyage(id.key).map(|voyage| self.voyage(voyage)),
            Kind::PortCall => world.calls.get(&id.key).map(|call| self.port_call(call)),
            Kind::EventLog => {
                let call = world.calls.values().find(|c| c.logs().any(|l| l.key == id.key))?;
                let log = call.logs().find(|log| log.key == id.key)?;
                Some(json!({
                    "portCall": self.reference(Kind::PortCall, call.key,
                        json!({"voyage": self.bare(Kind::Voyage, call.voyage)})),
                    "event": event(log.code), "eventLogDate": date_time(log.at_ms),
                    "timezoneName": call.port.name.timezone, "isDateFixed": log.is_fact,
                }))
            }
            Kind::Cargo => world.cargos.get(&id.key).map(|cargo| self.cargo(cargo)),
            Kind::CargoPort => {
                let cargo =
                    world.cargos.values().find(|c| c.ports.iter().any(|p| p.0 == id.key))?;
                let index = cargo.ports.iter().position(|port| port.0 == id.key)?;
                let mut image = self.cargo_port(cargo, index)?;
                let voyage = cargo.voyage.map(|key| self.bare(Kind::Voyage, key));
                let above = self.reference(Kind::Cargo, cargo.key, json!({"voyage": voyage}));
                image.insert("cargo".into(), above);
                Some(Value::Object(image))
            }
            Kind::BunkerOrder => world.orders.get(&id.key).map(|order| self.bunker_order(order)),
            Kind::BunkerOrderLine => {
                let order =
                    world.orders.values().find(|o| o.lines.iter().any(|l| l.key == id.key))?;
                let mut image = self.bunker_lines(order, Some(id.key)).pop()?;
                let above = self.bare(Kind::BunkerOrder, order.key);
                image.insert("bunkerOrder".into(), above);
                Some(Value::Object(image))
            }
            Kind::Document => world.documents.get(&id.key).map(|document| self.document(document)),
            Kind::DocumentLine => {
                let document =
                    world.documents.values().find(|d| d.lines.iter().any(|l| l.0 == id.key))?;
                let index = document.lines.iter().position(|line| line.0 == id.key)?;
                let line = document.lines.get(index)?;
                Some(json!({"document": self.bare(Kind::Document, document.key),
                    "lineNo": index + 1, "amount": decimal(line.1, 2)}))
            }
        }
    }

    fn company(&self) -> Value {
        self.reference(Kind::Company, self.world.company, json!({"companyCode": "TIDE"}))
    }

    fn partner(&self, partner: &Partner) -> Value {
        let members = json!({"businessPartnerName": partner_name(partner)});
        self.reference(Kind::BusinessPartner, partner.key, members)
    }

    fn port(&self, port: &Port) -> Value {
        let members = json!({"portName": port.name.name, "unCode": port.name.un_code,
            "timezone": port.name.timezone});
        self.reference(Kind::Port, port.key, members)
    }

    fn vessel(&self, vessel: &Vessel) -> Value {
        let members = json!({"vesselCode": vessel.code, "vesselName": vessel.name,
            "imoNumber": vessel.imo.to_string()});
        self.reference(Kind::Vessel, vessel.key, members)
    }

    fn dollars(&self) -> Value {
        let dollar = self.world.currencies.first();
        dollar.map_or(Value::Null, |currency| {
            let members = json!({"currencyCode": currency.code});
            self.reference(Kind::Currency, currency.key, members)
        })
    }

    fn voyage_header(&self, voyage: &Voyage) -> Value {
        json!({
            "codeProperty": "referenceNo",
            "vesselCode": voyage.vessel.code,
            "vesselCodes": {"masterUser": null},
            "company": self.company(),
            "businessUnit": self.reference(Kind::BusinessUnit, self.world.business_unit,
                json!({"businessUnitCode": "BULK"})),
            "voyageStartYear": year(voyage.start_ms),
            "voyageStartDate": date_time(voyage.start_ms),
            "voyageNo": voyage.number,
            "referenceNo": reference_no(voyage),
            "voyageStatus": status(voyage),
            "isBudget": false,
            "isTemplate": false,
            "voyage": self.bare(Kind::Voyage, voyage.key),
        })
    }

    fn voyage(&self, voyage: &Voyage) -> Value {
        let world = self.world;
        let (mut at_sea, mut in_port, mut loading, mut discharging, mut idle) = (0, 0, 0, 0, 0);
        let mut left = voyage.start_ms;
        for call in world.calls_of(voyage) {
            let stay = (call.departure.at_ms - call.arrival.at_ms).max(0);
            at_sea += (call.arrival.at_ms - left).max(0);
            in_port += stay;
            match call.reason {
                Reason::Load => loading += stay,
                Reason::Discharge => discharging += stay,
                Reason::Bunkering => idle += stay,
            }
            left = call.departure.at_ms;
        }
        let calls = world.calls_of(voyage).map(|call| {
            self.reference(
                Kind::PortCall,
                call.key,
                json!({
                "portCallSequence": sequence(voyage, call.key), "port": self.port(&call.port)}),
            )
        });
        let cargos = voyage.cargos.iter().filter_map(|key| world.cargos.get(key)).map(|cargo| {
            self.reference(Kind::Cargo, cargo.key, json!({"commodity": cargo.commodity}))
        });
        json!({
            "codeProperty": "referenceNo",
            "referenceNo": reference_no(voyage),
            "vessel": self.vessel(&voyage.vessel),
            "voyageHeader": self.reference(Kind::VoyageHeader, voyage.header,
                json!({"voyageNo": voyage.number, "voyageStatus": status(voyage)})),
            "portCalls": calls.collect::<Vec<_>>(),
            "cargos": cargos.collect::<Vec<_>>(),
            "tcs": [],
            "comments": voyage.comment,
            "daysBallast": days(world.calls_of(voyage).next()
                .map_or(0, |call| (call.arrival.at_ms - voyage.start_ms).max(0))),
            "daysCanal": days(if voyage.canal_cents > 0 { DAY_MS } else { 0 }),
            "daysLoading": days(loading),
            "daysDischarging": days(discharging),
            "daysLoaded": days(at_sea / 2),
            "daysOffhire": decimal(voyage.offhire_hours * 100 / 24, 2),
            "daysIdle": days(idle),
            "daysWaiting": days(0),
            "daysTotal": days(at_sea + in_port),
            "daysTotalAtSea": days(at_sea),
            "daysTotalInPort": days(in_port),
            "commission": decimal(voyage.result_cents.abs() / 40, 2),
            "canalCost": decimal(voyage.canal_cents, 2),
            "ballastBonus": decimal(0, 2),
            "scenarios": [{"scenarioCode": "ACT"}],
            "voyageResult": decimal(voyage.result_cents, 2),
        })
    }

    fn port_call(&self, call: &PortCall) -> Value {
        let voyage = self.world.voyage(call.voyage);
        let (letter, text) = match call.reason {
            Reason::Load => ("L", "Loading"),
            Reason::Discharge => ("D", "Discharging"),
            Reason::Bunkering => ("B", "Bunkering"),
        };
        json!({
            "portCallSequence": voyage.map_or(0, |voyage| sequence(voyage, call.key)),
            "reasonForCall": {"reasonForCall": letter, "reasonForCallDesc": text},
            "port": self.port(&call.port),
            "agent": self.agent(call),
            "currency": self.dollars(),
            "speed": decimal(call.speed, 2),
            "distanceActual": decimal(call.distance, 1),
            "daysAtSea": decimal(call.distance * 1000 / (call.speed.max(1) * 24), 2),
            "departureFixed": call.departure.is_fact,
            "laycanFrom": call.laycan_ms.map(|(from, _)| date_time(from)),
            "laycanTo": call.laycan_ms.map(|(_, to)| date_time(to)),
            "voyage": self.reference(Kind::Voyage, call.voyage,
                json!({"referenceNo": voyage.map(reference_no)})),
            "eventLogs": self.event_logs(call),
        })
    }

    fn agent(&self, call: &PortCall) -> Value {
        let agent = self.world.partners.get(&call.port.agent).filter(|_| call.has_agent);
        agent.map_or(Value::Null, |agent| self.partner(agent))
    }

    fn event_logs(&self, call: &PortCall) -> Vec<Value> {
        let logs = call.logs().map(|log| {
            self.reference(
                Kind::EventLog,
                log.key,
                json!({
                "event": event(log.code), "eventLogDate": date_time(log.at_ms),
                "timezoneName": call.port.name.timezone, "isDateFixed": log.is_fact}),
            )
        });
        logs.collect()
    }

    fn cargo(&self, cargo: &Cargo) -> Value {
        let ports: Vec<Value> = (0..cargo.ports.len())
            .filter_map(|index| self.cargo_port(cargo, index).zip(cargo.ports.get(index)))
            .map(|(members, port)| self.reference(Kind::CargoPort, port.0, Value::Object(members)))
            .collect();
        json!({
            "cargoMeasurement": "MT",
            "cargoType": "SPOT",
            "freightCurrency": self.dollars(),
            "charterer": self.partner(&cargo.charterer),
            "commodity": cargo.commodity,
            "voyage": cargo.voyage.map(|key| self.bare(Kind::Voyage, key)),
            "commissionAddress": decimal(250, 2),
            "cargoPorts": ports,
        })
    }

    fn cargo_port(&self, cargo: &Cargo, index: usize) -> Option<Map<String, Value>> {
        let (_, call) = cargo.ports.get(index)?;
        let call = call.and_then(|key| self.world.calls.get(&key));
        let (letter, text) = if index == 0 { ("L", "Loading") } else { ("D", "Discharging") };
        let image = json!({
            "cargoPortSequence": index + 1,
            "cargoQuantity": decimal(cargo.quantity, 3),
            "freightRate": decimal(cargo.rate_cents, 2),
            "port": call.map(|call| self.port(&call.port)),
            "portCall": call.map(|call| self.bare(Kind::PortCall, call.key)),
            "reasonForCall": {"reasonForCall": letter, "reasonForCallDesc": text},
        });
        if let Value::Object(members) = image { Some(members) } else { None }
    }

    fn bunker_order(&self, order: &BunkerOrder) -> Value {
        let call = self.world.calls.get(&order.call).map(|call| {
            self.reference(
                Kind::PortCall,
                call.key,
                json!({
                "agent": self.agent(call), "port": self.port(&call.port),
                "eventLogs": self.event_logs(call),
                "voyage": self.bare(Kind::Voyage, call.voyage)}),
            )
        });
        let lines = self.bunker_lines(order, None).into_iter().map(Value::Object);
        json!({
            "portCall": call,
            "vessel": self.vessel(&order.vessel),
            "bunkerOrderLines": lines.collect::<Vec<_>>(),
            "supplier": self.partner(&order.supplier),
            "broker": null,
            "company": self.company(),
            "remarks": "Delivery by barge.",
        })
    }

    /// All lines of an order, or the one that is asked for.
    fn bunker_lines(&self, order: &BunkerOrder, only: Option<u64>) -> Vec<Map<String, Value>> {
        let lines = order.lines.iter().filter(|line| only.is_none_or(|key| line.key == key));
        let images = lines.map(|line| {
            self.reference(
                Kind::BunkerOrderLine,
                line.key,
                json!({
                "bunkerType": line.grade, "quantity": decimal(line.quantity, 3),
                "price": decimal(line.price_cents, 2),
                "deliveryDate": date_time(order.delivery_ms)}),
            )
        });
        images
            .filter_map(
                |image| if let Value::Object(members) = image { Some(members) } else { None },
            )
            .collect()
    }

    fn document(&self, document: &Document) -> Value {
        let amount: i64 = document.lines.iter().map(|line| line.1).sum();
        let (status, text) =
            if document.is_ready { ("RFP", "Ready for posting") } else { ("PEN", "Pending") };
        let lines = document.lines.iter().map(|line| {
            self.reference(Kind::DocumentLine, line.0, json!({"amount": decimal(line.1, 2)}))
        });
        json!({
            "codeProperty": "documentNo",
            "documentNo": format!("{}-{}", document.document_type, document.key % 1_000_000),
            "documentAmount": decimal(amount, 2),
            "company": self.company(),
            "documentType": {"documentType": document.document_type},
            "invoicingStatus": {"statusTypeCode": status, "statusTypeDesc": text},
            "businessPartner": self.partner(&document.partner),
            "lines": lines.collect::<Vec<_>>(),
        })
    }
}

fn event(code: &str) -> Value {
    let text = match code {
        "ARR" => "Arrival",
        "BRT" => "Berthed",
        _ => "Departure",
    };
    json!({"eventCode": code, "eventDesc": text})
}

fn partner_name(partner: &Partner) -> String {
    if partner.role == "AGENT" {
        format!("Sample Agency {}", partner.name)
    } else {
        partner.name.to_owned()
    }
}

fn status(voyage: &Voyage) -> Value {
    let (code, text) = match voyage.status {
        Status::Estimated => ("EST", "Estimated"),
        Status::Nominated => ("NOM", "Nominated"),
        Status::Operative => ("OPR", "Operative"),
    };
    json!({"statusTypeCode": code, "statusTypeDesc": text})
}

fn reference_no(voyage: &Voyage) -> String {
    format!("{}-{}-{:03}", voyage.vessel.code, year(voyage.start_ms), voyage.number)
}

/// The place of a call in its voyage, from 1.
fn sequence(voyage: &Voyage, call: u64) -> usize {
    voyage.calls.iter().position(|key| *key == call).map_or(0, |index| index + 1)
}

/// The usual price of a grade, in cents a tonne.
pub(crate) fn usual_price(grade: &str) -> i64 {
    GRADES.iter().find(|(name, _)| *name == grade).map_or(60_000, |(_, price)| *price)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_zeros() {
        let check = |value, scale, expected: &str| {
            assert_eq!(decimal(value, scale).to_string(), expected);
        };
        check(120_050, 2, "1200.50");
        check(-7, 2, "-0.07");
        check(0, 3, "0.000");
        check(i64::MIN, 1, "-922337203685477580.8");
    }
}
