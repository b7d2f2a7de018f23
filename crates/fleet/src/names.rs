//! The names of the simulated world. Ports and commodities are real; vessels and business partners are
//! made up, and the IMO numbers fail the check digit of IMO Resolution A.1117(30), so that no real ship
//! can carry one.

/// A port: name, UN/LOCODE, time zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortName {
    pub(crate) name: &'static str,
    pub(crate) un_code: &'static str,
    pub(crate) timezone: &'static str,
}

const fn port(name: &'static str, un_code: &'static str, timezone: &'static str) -> PortName {
    PortName { name, un_code, timezone }
}

pub(crate) const PORTS: [PortName; 20] = [
    port("Bergen", "NOBGO", "Europe/Oslo"),
    port("Narvik", "NONVK", "Europe/Oslo"),
    port("Rotterdam", "NLRTM", "Europe/Amsterdam"),
    port("Antwerp", "BEANR", "Europe/Brussels"),
    port("Hamburg", "DEHAM", "Europe/Berlin"),
    port("Gdansk", "PLGDN", "Europe/Warsaw"),
    port("Constanta", "ROCND", "Europe/Bucharest"),
    port("Algeciras", "ESALG", "Europe/Madrid"),
    port("Port Said", "EGPSD", "Africa/Cairo"),
    port("Durban", "ZADUR", "Africa/Johannesburg"),
    port("Fujairah", "AEFJR", "Asia/Dubai"),
    port("Mumbai", "INBOM", "Asia/Kolkata"),
    port("Singapore", "SGSIN", "Asia/Singapore"),
    port("Qingdao", "CNQIN", "Asia/Shanghai"),
    port("Busan", "KRBUS", "Asia/Seoul"),
    port("Port Hedland", "AUPHE", "Australia/Perth"),
    port("Santos", "BRSSZ", "America/Sao_Paulo"),
    port("Houston", "USHOU", "America/Chicago"),
    port("New Orleans", "USMSY", "America/Chicago"),
    port("Vancouver", "CAVAN", "America/Vancouver"),
];

/// Vessel code, name and IMO number.
pub(crate) const VESSELS: [(&str, &str, u32); 16] = [
    ("KIT", "Tide Kittiwake", 9_100_012),
    ("RAZ", "Tide Razorbill", 9_100_024),
    ("PUF", "Tide Puffin", 9_100_036),
    ("FUL", "Tide Fulmar", 9_100_048),
    ("GAN", "Tide Gannet", 9_100_050),
    ("SKU", "Tide Skua", 9_100_062),
    ("TER", "Tide Tern", 9_100_074),
    ("EID", "Tide Eider", 9_100_086),
    ("PLO", "Tide Plover", 9_100_098),
    ("DUN", "Tide Dunlin", 9_100_115),
    ("CUR", "Tide Curlew", 9_100_127),
    ("AVO", "Tide Avocet", 9_100_139),
    ("PET", "Tide Petrel", 9_100_141),
    ("OSP", "Tide Osprey", 9_100_153),
    ("HER", "Tide Heron", 9_100_165),
    ("IBI", "Tide Ibis", 9_100_177),
];

pub(crate) const COMMODITIES: [&str; 12] = [
    "Wheat",
    "Maize",
    "Soya beans",
    "Barley",
    "Iron ore fines",
    "Thermal coal",
    "Bauxite",
    "Urea",
    "Potash",
    "Steel coils",
    "Cement clinker",
    "Wood pulp",
];

/// What a business partner does, and its names.
pub(crate) const CHARTERERS: [&str; 5] = [
    "Sample Charterer Grain",
    "Sample Charterer Ore",
    "Sample Charterer Coal",
    "Sample Charterer Fertiliser",
    "Sample Charterer Steel",
];
pub(crate) const SUPPLIERS: [&str; 3] =
    ["Sample Bunkers East", "Sample Bunkers West", "Sample Bunkers North"];
pub(crate) const OWNERS: [&str; 2] = ["Sample Shipowner One", "Sample Shipowner Two"];

/// Bunker grade and its price around which the market moves, in cents of a dollar a tonne.
pub(crate) const GRADES: [(&str, i64); 3] =
    [("VLSFO", 58_500), ("LSMGO", 77_250), ("HSFO", 46_800)];

pub(crate) const COMMENTS: [&str; 6] = [
    "Weather routing asks for a southern track.",
    "Master reports swell, speed reduced.",
    "Berth congestion expected; agent to advise.",
    "Laycan confirmed by the charterer.",
    "Hold inspection passed.",
    "Draught survey under way.",
];

/// Currency code, and how many ten-thousandths of a dollar one unit is at the start.
pub(crate) const CURRENCIES: [(&str, i64); 4] =
    [("USD", 10_000), ("EUR", 10_850), ("NOK", 930), ("SGD", 7_450)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_imo_number_can_be_real() {
        for (_, name, imo) in VESSELS {
            let digits: Vec<u32> = imo.to_string().bytes().map(|b| u32::from(b - b'0')).collect();
            assert_eq!(digits.len(), 7, "{name}");
            let sum: u32 = digits.iter().take(6).zip((2..=7).rev()).map(|(d, w)| d * w).sum();
            assert_ne!(sum % 10, digits[6], "{name} has a valid IMO number");
        }
    }
}
