//! The rules, as tables.

use super::metadata::Package;

/// Where a package stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Ring 0: no I/O, no state of its own.
    Pure,
    /// Ring 1: logic without I/O.
    Logic,
    /// Ring 2: each the only user of what it adapts.
    Adapter,
    /// Ring 3: what any adapter or service leans on.
    Support,
    /// Judges the others from outside, so it shares no code with them.
    Judge,
    /// Turns settings into the adapters' options, in the same way for all services.
    Assembly,
    /// One deployable each.
    Service,
    /// Black-box tests and what starts their servers.
    Tests,
    /// The tasks of this very crate.
    Task,
}

use Place::{Adapter, Assembly, Judge, Logic, Pure, Service, Support, Task, Tests};

/// The ring of each crate under `crates/`.
const RINGS: &[(&str, Place)] = &[
    ("tidewire-event", Pure),
    ("tidewire-model", Pure),
    ("tidewire-fields", Pure),
    ("tidewire-wire", Pure),
    ("tidewire-rights", Pure),
    ("tidewire-script", Pure),
    ("tidewire-log", Logic),
    ("tidewire-router", Logic),
    ("tidewire-store", Logic),
    ("tidewire-fleet", Logic),
    ("tidewire-kafka", Adapter),
    ("tidewire-topic-id", Adapter),
    ("tidewire-redis", Adapter),
    ("tidewire-auth", Adapter),
    ("tidewire-http", Adapter),
    ("tidewire-sockets", Adapter),
    ("tidewire-rhai", Adapter),
    ("tidewire-sandbox", Adapter),
    ("tidewire-config", Support),
    ("tidewire-telemetry", Support),
    ("tidewire-runtime", Support),
    ("tidewire-assembly", Assembly),
    ("tidewire-checker", Judge),
];

/// The command line holds all services in one process, so it alone may depend on them.
const BINARY: &str = "tidewire";

/// The ids, which support crates may name.
const IDS: &str = "tidewire-event";

/// An adapter that has a part of its own crate, since that part needs `unsafe`.
const PARTS: &[(&str, &str)] = &[("tidewire-kafka", "tidewire-topic-id")];

/// What ring 0 may use from outside: data formats and plain computation.
const PURE_CRATES: &[&str] = &[
    "base64",
    "bytes",
    "hmac",
    "memchr",
    "quick-xml",
    "serde",
    "serde_json",
    "sha2",
    "strsim",
    "thiserror",
    "toml",
];

/// What the judge may use from outside.
const JUDGE_CRATES: &[&str] = &["serde_json"];

/// What ring 1 may not use: runtimes, sockets, clients.
const IO_CRATES: &[&str] = &[
    "async-std",
    "futures-util",
    "hyper",
    "hyper-util",
    "mio",
    "rdkafka",
    "redis",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio-rustls",
    "tokio-tungstenite",
    "ureq",
    "warp",
];

/// Crates that only these may use. The command line's bench measures a bare consumer.
const ONLY_USERS: &[(&str, &[&str])] = &[
    ("rdkafka", &["tidewire-kafka", "tidewire-topic-id", "tidewire"]),
    ("redis", &["tidewire-redis"]),
    ("rhai", &["tidewire-rhai"]),
    ("warp", &["tidewire-http"]),
    ("hyper", &["tidewire-http"]),
    ("hyper-util", &["tidewire-http"]),
];

impl Place {
    fn of(package: &Package) -> Option<Self> {
        match package.folder.split('/').next() {
            Some("crates") => {
                RINGS.iter().find(|(name, _)| *name == package.name).map(|(_, place)| *place)
            }
            Some("services") => Some(Service),
            Some("tests") => Some(Tests),
            Some("xtask") => Some(Task),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Pure => "ring 0",
            Logic => "ring 1",
            Adapter => "ring 2",
            Support => "ring 3",
            Judge => "the judge",
            Assembly => "assembly",
            Service => "a service",
            Tests => "tests",
            Task => "xtask",
        }
    }

    /// The places whose packages this one may use, and the same in words.
    fn may_use(self) -> (&'static [Place], &'static str) {
        match self {
            Pure => (&[Pure], "ring 0 may use ring 0 only"),
            Logic => (&[Pure, Logic], "ring 1 may use rings 0 and 1 only"),
            Adapter => {
                (&[Pure, Logic, Support], "ring 2 may use rings 0, 1 and 3, never another adapter")
            }
            Support => (&[], "ring 3 may use ids (tidewire-event) only"),
            Judge => (&[], "the judge may use no crate of this project"),
            Assembly => {
                (&[Pure, Logic, Adapter, Support], "assembly may use all rings, never a service")
            }
            Service => (
                &[Pure, Logic, Adapter, Support, Assembly, Judge],
                "nothing but the tidewire binary may use a service, and tests only as dev-dependencies",
            ),
            Tests => (
                &[Pure, Logic, Adapter, Support, Judge, Tests],
                "tests may use rings and each other, and services as dev-dependencies only",
            ),
            Task => (&[Pure, Support], "xtask may use rings 0 and 3 only"),
        }
    }
}

/// Every problem, each with its arrow.
pub(super) fn judge(packages: &[Package]) -> Vec<String> {
    let mut problems = Vec::new();
    for package in packages {
        let Some(place) = Place::of(package) else {
            problems.push(format!(
                "{} in {} has no ring: give it one in xtask/src/layers/rules.rs",
                package.name, package.folder
            ));
            continue;
        };
        for need in &package.needs {
            let inside = packages.iter().find(|other| other.name == *need);
            // One without a ring is a problem of its own.
            let refusal = match inside.map(Place::of) {
                Some(Some(target)) => inner_arrow(&package.name, place, need, target),
                Some(None) => None,
                None => outer_arrow(&package.name, place, need),
            };
            if let Some((target, why)) = refusal {
                let (name, from) = (&package.name, place.name());
                problems.push(format!("{name} ({from}) -> {need} ({target}): {why}"));
            }
        }
    }
    problems
}

type Refusal = (&'static str, String);

fn inner_arrow(from: &str, place: Place, to: &str, target: Place) -> Option<Refusal> {
    let (places, rule) = place.may_use();
    let allowed = places.contains(&target)
        || (place == Support && to == IDS)
        || (from == BINARY && target == Service)
        || PARTS.contains(&(from, to));
    (!allowed).then(|| (target.name(), rule.to_owned()))
}

fn outer_arrow(from: &str, place: Place, to: &str) -> Option<Refusal> {
    const OUTSIDE: &str = "from outside";
    let only = ONLY_USERS.iter().find(|(name, _)| *name == to);
    if let Some((_, users)) = only.filter(|(_, users)| !users.contains(&from)) {
        return Some((OUTSIDE, format!("only {} may use it", users.join(", "))));
    }
    match place {
        Pure if !PURE_CRATES.contains(&to) => {
            Some((OUTSIDE, format!("ring 0 may use {} only", PURE_CRATES.join(", "))))
        }
        Judge if !JUDGE_CRATES.contains(&to) => {
            Some((OUTSIDE, format!("the judge may use {} only", JUDGE_CRATES.join(", "))))
        }
        Logic if IO_CRATES.contains(&to) => {
            Some((OUTSIDE, "ring 1 does no I/O and has no runtime".to_owned()))
        }
        _ => None,
    }
}
