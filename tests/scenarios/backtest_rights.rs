//! A back-test with a token: what a gateway would refuse is refused, and another tenant's changes never show.

use serde_json::{Value, json};
use tidewire_auth::{MintClaims, TokenMinter, load_secret, unix_now};
use tidewire_testkit::http::request;

use crate::support::alerts::{PATH, script};
use crate::support::backtest::{ALWAYS, Bed, Put, Said, ago_ms};
use crate::support::log::{Producer, Record};
use crate::support::{AUDIENCE, ISSUER, World};

const SECRET: &str = "a secret of the tests of back-tests, long enough for HS256";
const AUTHOR: &str = "writer";

/// The bed, with a secret and the settings that a gateway would have.
struct Desk {
    bed: Bed,
    settings: Vec<String>,
}

impl Desk {
    async fn start() -> Option<Self> {
        let bed = Bed::start(2)?;
        let secret = bed.folder.path().join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        let settings = [
            format!("auth.hs256_secret_file={}", secret.display()),
            format!("auth.issuer={ISSUER}"),
            format!("auth.audience={AUDIENCE}"),
            format!("auth.roles.script_author={AUTHOR}"),
        ];
        let producer = bed.producer(None);
        for (tenant, partition) in [("acme", 0), ("other", 0), ("other", 1), ("acme", 1)] {
            let put = Put { tenant, partition, speed: 1, time_ms: ago_ms(1), bytes: 0 };
            bed.put(&producer, put).await;
        }
        Some(Self { bed, settings: settings.into() })
    }

    fn token(&self, tenant: &str, roles: &[&str], change: impl FnOnce(&mut MintClaims)) -> String {
        let mut claims = MintClaims::new(tenant, unix_now());
        claims.user = Some(7);
        claims.roles = roles.iter().map(|&role| role.to_owned()).collect();
        (claims.issuer, claims.audience) = (ISSUER.to_owned(), AUDIENCE.to_owned());
        change(&mut claims);
        let secret = load_secret(&self.bed.folder.path().join("secret")).unwrap();
        TokenMinter::mint(&secret, &claims).unwrap()
    }

    /// Runs a script with these members, under these rules.
    fn run(&self, token: &str, members: &Value, rules: &[&str], more: &[&str]) -> Said {
        let file = self.bed.script_with(members);
        let mut arguments = vec!["--since", "start", "--token", token];
        for setting in self.settings.iter().map(String::as_str).chain(rules.iter().copied()) {
            arguments.extend(["--set", setting]);
        }
        arguments.extend(more);
        let said = self.bed.run(&file, &arguments);
        let signature = token.rsplit('.').next().unwrap();
        assert!(signature.is_empty() || !said.err.contains(signature), "a token is shown");
        said
    }
}

/// A file that reads a field of another type.
const FAR: &str = "let name = \"?1\"; dlpObject.vessel.vesselName == null";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_sees_its_tenant_and_what_it_may_read() {
    let Some(desk) = Desk::start().await else { return };
    let author = |tenant: &str| desk.token(tenant, &[AUTHOR, "reader"], |_| {});
    let open = ["rights.default=open"];
    let plain = json!({"scriptBody": ALWAYS});
    for (tenant, expected) in [("acme", ["0-0", "1-1"]), ("other", ["0-1", "1-0"])] {
        let said = desk.run(&author(tenant), &plain, &open, &[]);
        let mut ids = said.ids();
        ids.sort_unstable();
        assert_eq!(
            (said.code, ids.as_slice()),
            (0, expected.map(str::to_owned).as_slice()),
            "{}",
            said.err
        );
        assert!(said.err.contains("in 2 runs over 4 records"), "{}", said.err);
    }
    // A tenant that has no changes, and one that is not the token's.
    let said = desk.run(&author("third"), &plain, &open, &[]);
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{}", said.err);
    let said = desk.run(&author("acme"), &plain, &open, &["--tenant", "acme"]);
    assert_eq!((said.code, said.ids().len()), (0, 2), "{}", said.err);
    let said = desk.run(&author("acme"), &plain, &open, &["--tenant", "other"]);
    assert!(said.code == 64 && said.out.is_empty(), "{}", said.err);
    assert!(said.err.contains("the token is of another tenant"), "{}", said.err);

    let voyages = "rights.read.reader=Voyage";
    let both = "rights.read.reader=Voyage,Vessel";
    let held = json!({"role": "desk"});
    let two = json!({"triggers": [{"objectType": "Voyage", "eventType": "U"},
        {"objectType": "Cargo", "eventType": "U"}]});
    let far = json!({"scriptBody": FAR, "alertScriptMessage": "?1"});
    let not = |name: &str| format!("the script reads type {name}, which is not allowed");
    let role = "the script is for a role that the token does not have".to_owned();
    let check = |members: &Value, rules: &[&str], more: &[&str], refused: Option<String>| {
        let said = desk.run(&author("acme"), members, rules, more);
        match refused {
            None => assert_eq!(said.code, 0, "{members} {rules:?}: {}", said.err),
            Some(text) => {
                let told = format!("tidewire script backtest: {text}\n");
                assert_eq!((said.code, said.err, said.out), (1, told, String::new()), "{members}");
            }
        }
    };
    // Nothing is granted by default.
    check(&plain, &[], &[], Some(not("Voyage")));
    check(&plain, &[voyages], &[], None);
    check(&held, &[voyages], &[], Some(role.clone()));
    check(&two, &[voyages], &[], Some(not("Cargo")));
    // The whole script is judged, as a gateway would.
    check(&two, &[voyages], &["--type", "Voyage"], Some(not("Cargo")));
    check(&far, &[voyages], &[], Some(not("Vessel")));
    check(&far, &[both], &[], None);
    let holder = desk.token("acme", &[AUTHOR, "desk"], |_| {});
    assert_eq!(desk.run(&holder, &held, &open, &[]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_author_is_told_what_a_gateway_tells() {
    let Some(world) = World::shared() else { return };
    let Some(desk) = Desk::start().await else { return };
    let token = world.token(&world.tenant(), 1, &["reader"]);
    let (address, bearer) = (world.public(0), format!("Bearer {token}"));
    let ask = move || {
        let body = script("c").to_string();
        request(address, "POST", PATH, &[("Authorization", bearer.as_str())], body.as_bytes())
    };
    let answer = tokio::task::spawn_blocking(ask).await.unwrap().unwrap();
    let refused: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(refused["statusCode"], 403);
    let said = desk.run(
        &desk.token("acme", &["reader"], |_| {}),
        &json!({}),
        &["rights.default=open"],
        &[],
    );
    let told = format!("tidewire script backtest: {}\n", refused["message"].as_str().unwrap());
    assert_eq!((said.code, said.err, said.out), (1, told, String::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_not_good_is_refused() {
    let Some(desk) = Desk::start().await else { return };
    let of = |change: fn(&mut MintClaims)| desk.token("acme", &[AUTHOR], change);
    let good = of(|_| {});
    let refused = |token: &str, text: &str| {
        let said = desk.run(token, &json!({}), &["rights.default=open"], &[]);
        let told = format!("tidewire script backtest: {text}\n");
        assert_eq!((said.code, said.err, said.out), (1, told, String::new()));
    };
    refused(&of(|claims| claims.issued_at -= 7_200), "Token expired.");
    refused(&of(|claims| claims.issuer += "x"), "Token issuer not accepted.");
    refused(&of(|claims| claims.audience += "x"), "Token audience not accepted.");
    refused("x", "Token malformed.");
    let (unsigned, _) = good.rsplit_once('.').unwrap();
    refused(&format!("{unsigned}.AAAA"), "Token signature not accepted.");

    // Revoked, as the control topic tells; somebody else is not meant.
    let until = unix_now() + 3_600;
    let at = unix_now();
    let body = json!({"v": 1, "kind": "principal", "id": "user:7", "at": at, "until": until,
        "by": "test", "reason": ""})
    .to_string();
    let control = Producer::new(&desk.bed.brokers, &desk.bed.control);
    let key = format!("acme/revocation/principal/user%3A7/{at}");
    let record =
        Record { key: Some(key.as_bytes()), body: Some(body.as_bytes()), ..Default::default() };
    control.put(record).await;
    refused(&good, "Token revoked.");
    let other = of(|claims| claims.user = Some(8));
    assert_eq!(desk.run(&other, &json!({}), &["rights.default=open"], &[]).code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_development_secret_verifies_where_no_issuer_is_configured() {
    let Some(bed) = Bed::start(1) else { return };
    let producer = bed.producer(None);
    for tenant in ["demo", "other"] {
        let put = Put { tenant, partition: 0, speed: 1, time_ms: ago_ms(1), bytes: 0 };
        bed.put(&producer, put).await;
    }
    let file = bed.script(ALWAYS);
    let range = ["--since", "start", "--token"];
    let said = bed.run(&file, &[&range[..], &["x.y.z"]].concat());
    assert!(said.code == 64 && said.err.contains("auth.issuer"), "{}", said.err);
    let mint = |role: &str| {
        let said = bed.tidewire(&["token", "--tenant", "demo", "--user", "1", "--role", role]);
        said.out.trim().to_owned()
    };
    let said = bed.run(&file, &[&range[..], &[&mint("script-author")]].concat());
    assert_eq!((said.code, said.ids()), (0, vec!["0-0".to_owned()]), "{}", said.err);
    let said = bed.run(&file, &[&range[..], &[&mint("reader")]].concat());
    assert!(said.code == 1 && said.err.contains("script authors only"), "{}", said.err);
    // From a file as well.
    let token = bed.folder.path().join("token");
    std::fs::write(&token, mint("script-author")).unwrap();
    let said = bed.run(&file, &["--since", "start", "--token-file", token.to_str().unwrap()]);
    assert_eq!((said.code, said.ids().len()), (0, 1), "{}", said.err);
}
