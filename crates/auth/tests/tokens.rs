//! Tokens, good and hostile, made byte by byte.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use proptest::prelude::*;
use serde_json::{Value, json};
use support::{
    AUDIENCE, HS, ISSUER, KEY, NOW, OTHER_KEY, RS, SECRET, b64, claims, hs256, issuer, jwks,
    options, rs256, write,
};
use tempfile::TempDir;
use tidewire_auth::{
    AuthOptions, ClaimNames, KeySource, MappingEntry, Principal, TokenError, Verifier,
};
use tidewire_rights::{Action, Revocation, Target, TargetKind};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

struct Subject {
    verifier: Verifier,
    runtime: tokio::runtime::Runtime,
    _folder: TempDir,
}

impl Subject {
    fn new(change: impl FnOnce(&mut AuthOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = write(folder.path(), "secret", SECRET);
        let mut options = options(KeySource::Hs256SecretFile(secret));
        change(&mut options);
        let verifier = Verifier::new(&options).unwrap();
        Self { verifier, runtime: runtime(), _folder: folder }
    }

    fn rs256() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pem = write(folder.path(), "key.pem", &KEY.public_pem);
        let verifier = Verifier::new(&options(KeySource::PemFile(pem))).unwrap();
        Self { verifier, runtime: runtime(), _folder: folder }
    }

    fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        let verified = self.runtime.block_on(self.verifier.verify(token, NOW));
        verified.map(|principal| (*principal).clone())
    }

    /// A token with these claims changed.
    fn with(&self, changes: Value) -> Result<Principal, TokenError> {
        self.verify(&hs256(HS, &claims(changes), SECRET.as_bytes()))
    }
}

#[test]
fn a_good_token_names_its_principal() {
    let subject = Subject::new(|_| {});
    let principal = subject.with(json!({"jti":"t1","business_units":[12,"x"]})).unwrap();
    assert_eq!(principal.tenant.as_str(), "acme");
    assert_eq!(&*principal.id, "user:7");
    assert_eq!(principal.user_key, Some(7));
    assert_eq!(principal.roles, ["admin", "operator"]);
    assert_eq!(principal.business_units, ["12", "x"]);
    assert_eq!(principal.expires_at, NOW + 600);
    assert_eq!(principal.token_id.as_deref(), Some("t1"));

    assert_eq!(principal.issued_at, None);
    for (issued, expected) in [
        (json!(NOW - 5), Some(NOW - 5)),
        (json!("x"), None),
        (json!(-1), None),
        (json!(null), None),
    ] {
        // Only revocations look at it, so a malformed one refuses nobody.
        assert_eq!(subject.with(json!({"iat": issued})).unwrap().issued_at, expected);
    }

    let rsa = Subject::rs256();
    assert!(rsa.verify(&rs256(RS, &claims(json!({})), &KEY)).is_ok());
}

#[test]
fn a_revoked_token_is_refused_also_where_it_is_remembered() {
    let subject = Subject::new(|_| {});
    let token = hs256(HS, &claims(json!({"jti":"t1","iat":NOW - 60})), SECRET.as_bytes());
    let other = hs256(HS, &claims(json!({"jti":"t2","iat":NOW - 60})), SECRET.as_bytes());
    let new = hs256(HS, &claims(json!({"jti":"t3","iat":NOW + 1})), SECRET.as_bytes());
    let (verifier, remembered) =
        (&subject.verifier, |token: &str| subject.verifier.verify_cached(token, NOW).is_some());
    for token in [&token, &other, &new] {
        assert!(subject.verify(token).is_ok() && remembered(token));
    }
    let apply = |kind, id: &str, value: bool| {
        let tenant = tidewire_event::Tenant::new("acme").unwrap();
        let target = Target::new(Action::Revoke, tenant, kind, id).unwrap();
        let (by, reason) = (String::new(), String::new());
        let one = Revocation { target, at: NOW, until: NOW + 600, by, reason };
        let (key, body) = (one.key(), one.value());
        let body = value.then_some(body.as_bytes());
        verifier.revocations().write().apply(key.as_bytes(), body, NOW).unwrap();
    };
    apply(TargetKind::Token, "t1", true);
    assert!(!remembered(&token) && remembered(&other));
    assert_eq!(subject.verify(&token), Err(TokenError::Revoked));
    assert!(subject.verify(&other).is_ok());
    apply(TargetKind::Principal, "user:7", true);
    assert!(!remembered(&other) && remembered(&new), "a token of later is not meant");
    assert_eq!(subject.verify(&other), Err(TokenError::Revoked));
    apply(TargetKind::Principal, "user:7", false);
    assert!(remembered(&other) && !remembered(&token));
}

#[test]
fn claims_are_checked() {
    use TokenError::{Audience, Claims, Expired, Issuer, NotYetValid, Tenant};
    let subject = Subject::new(|_| {});
    let check = |changes: Value, expected: Option<TokenError>| {
        assert_eq!(subject.with(changes.clone()).err(), expected, "{changes}");
    };
    check(json!({}), None);
    // exp: the leeway is 10 s
    check(json!({"exp": NOW - 9}), None);
    check(json!({"exp": NOW - 10}), Some(Expired));
    check(json!({"exp": 0}), Some(Expired));
    check(json!({"exp": NOW + 5, "nbf": NOW + 10}), None);
    check(json!({"nbf": NOW + 11}), Some(NotYetValid));
    check(json!({"nbf": NOW - 1}), None);
    check(json!({"exp": null}), Some(Claims));
    for bad in [
        json!("1900000000"),
        json!(true),
        json!([NOW + 600]),
        json!({}),
        json!(-1),
        json!(u64::MAX),
        serde_json::from_str::<Value>("1e300").unwrap(),
        serde_json::from_str::<Value>("1.9e9").unwrap(),
        serde_json::from_str::<Value>("99999999999999999999999999").unwrap(),
    ] {
        check(json!({"exp": bad}), Some(Claims));
        check(json!({"nbf": bad}), Some(Claims));
    }
    check(json!({"exp": serde_json::from_str::<Value>("1900000000.75").unwrap()}), None);
    check(json!({"exp": i64::MAX}), None);
    // aud
    check(json!({"aud": "second"}), None);
    check(json!({"aud": ["x", AUDIENCE]}), None);
    check(json!({"aud": null}), Some(Claims));
    check(json!({"aud": 7}), Some(Claims));
    check(json!({"aud": {"tidewire": 1}}), Some(Claims));
    check(json!({"aud": [AUDIENCE, 7]}), Some(Claims));
    check(json!({"aud": []}), Some(Audience));
    check(json!({"aud": ""}), Some(Audience));
    check(json!({"aud": "Tidewire"}), Some(Audience));
    check(json!({"aud": "tidewire "}), Some(Audience));
    check(json!({"aud": ["tidewire-x", "x"]}), Some(Audience));
    // iss
    check(json!({"iss": null}), Some(Claims));
    check(json!({"iss": [ISSUER]}), Some(Claims));
    check(json!({"iss": ""}), Some(Issuer));
    check(json!({"iss": "https://id.example.com"}), Some(Issuer));
    check(json!({"iss": "https://evil.example.com/"}), Some(Issuer));
    // tenant
    check(json!({"tenant": null}), Some(Tenant));
    check(json!({"tenant": 42}), None);
    check(json!({"tenant": ""}), Some(Claims));
    check(json!({"tenant": "a\nb"}), Some(Claims));
    check(json!({"tenant": ["acme"]}), Some(Claims));
    check(json!({"tenant": "x".repeat(65)}), Some(Claims));
    // user and sub
    check(json!({"user": "7"}), None);
    check(json!({"user": null}), None);
    check(json!({"user": null, "sub": null}), Some(Claims));
    check(json!({"sub": null}), None);
    check(json!({"sub": 7}), Some(Claims));
    check(json!({"sub": ""}), Some(Claims));
    check(json!({"sub": "a\u{0}b"}), Some(Claims));
    check(json!({"sub": "x".repeat(257)}), Some(Claims));
    for bad in [json!("anna"), json!("+7"), json!(" 7"), json!(-7), json!(7.5), json!(true)] {
        check(json!({"user": bad}), Some(Claims));
    }
    check(json!({"user": (1_u64 << 53) - 1}), None);
    check(json!({"user": 1_u64 << 53}), Some(Claims));
    // roles
    check(json!({"roles": null}), None);
    check(json!({"roles": {"a": 1}}), Some(Claims));
    check(json!({"roles": [["a"]]}), Some(Claims));
    check(json!({"roles": [null]}), Some(Claims));
    check(json!({"roles": [""]}), Some(Claims));
    check(json!({"roles": vec!["r"; 257]}), Some(Claims));
    check(json!({"jti": 7}), Some(Claims));
}

#[test]
fn hostile_tokens_are_refused() {
    use TokenError::{Malformed, Missing, Signature};
    let hs = Subject::new(|_| {});
    let rs = Subject::rs256();
    let good = claims(json!({}));
    let check = |subject: &Subject, what: &str, token: &str, expected: TokenError| {
        assert_eq!(subject.verify(token).err(), Some(expected), "{what}");
        assert!(subject.verifier.verify_cached(token, NOW).is_none(), "{what}");
    };
    let unsigned = |header: &str| format!("{}.{}.", b64(header), b64(&good));

    // The algorithm is the key's, whatever the token says.
    for alg in [
        "none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA",
        "hs256", "",
    ] {
        let header = json!({"alg": alg}).to_string();
        check(&hs, alg, &unsigned(&header), Signature);
        check(&hs, alg, &hs256(&header, &good, SECRET.as_bytes()), Signature);
    }
    for alg in ["none", "HS256", "HS512", "PS256", "RS384", "ES256", "rs256"] {
        let header = json!({"alg": alg}).to_string();
        check(&rs, alg, &unsigned(&header), Signature);
        check(&rs, alg, &rs256(&header, &good, &KEY), Signature);
    }
    // The public key as an HMAC secret, in each form it is published in.
    let trimmed = KEY.public_pem.trim();
    for secret in [KEY.public_pem.as_str(), trimmed, &KEY.modulus, ""] {
        check(&rs, "HS with the public key", &hs256(HS, &good, secret.as_bytes()), Signature);
        check(&rs, "the same called RS256", &hs256(RS, &good, secret.as_bytes()), Signature);
    }
    // Wrong keys.
    check(&hs, "empty secret", &hs256(HS, &good, b""), Signature);
    check(&hs, "another secret", &hs256(HS, &good, b"another"), Signature);
    check(&rs, "another key", &rs256(RS, &good, &OTHER_KEY), Signature);
    check(&hs, "RS256 token for an HS256 issuer", &rs256(RS, &good, &KEY), Signature);

    // The header brings its own key.
    let own = OTHER_KEY.jwk("own");
    for header in [
        json!({"alg":"RS256","jwk": own}),
        json!({"alg":"RS256","kid":"own","jku":"http://127.0.0.1:1/keys"}),
        json!({"alg":"RS256","x5u":"http://127.0.0.1:1/cert"}),
        json!({"alg":"RS256","x5c":["MIIB"]}),
    ] {
        check(&rs, "own key", &rs256(&header.to_string(), &good, &OTHER_KEY), Signature);
        let signed_well = rs256(&header.to_string(), &good, &KEY);
        assert!(rs.verify(&signed_well).is_ok(), "these members are ignored: {header}");
    }
    for kid in ["../../../dev/null", "' OR 1=1 --", "/proc/self/environ", "", "\u{0}", "http://x/"]
    {
        let header = json!({"alg":"RS256","kid":kid}).to_string();
        check(&rs, kid, &rs256(&header, &good, &OTHER_KEY), Signature);
    }

    // Headers that cannot be used.
    for header in [
        json!({}),
        json!({"alg": null}),
        json!({"alg": 7}),
        json!({"alg": ["HS256"]}),
        json!({"ALG": "HS256"}),
        json!({"alg":"HS256","kid":7}),
        json!({"alg":"HS256","kid":["a"]}),
        json!({"alg":"HS256","kid":"k".repeat(257)}),
        json!({"alg":"HS256","crit":["exp"]}),
        json!({"alg":"HS256","crit":[],"b64":false}),
        json!([]),
        json!("HS256"),
        json!(null),
    ] {
        let header = header.to_string();
        check(&hs, &header, &hs256(&header, &good, SECRET.as_bytes()), Malformed);
    }
    for bad in ["", "{", "{\"alg\":\"HS256\"} x", "\u{feff}{\"alg\":\"HS256\"}"] {
        check(&hs, bad, &hs256(bad, &good, SECRET.as_bytes()), Malformed);
        check(&hs, bad, &hs256(HS, bad, SECRET.as_bytes()), Malformed);
    }
    for body in ["[]", "7", "null", "\"x\"", &"[".repeat(3000), &"{\"a\":".repeat(900)] {
        check(&hs, body, &hs256(HS, body, SECRET.as_bytes()), Malformed);
    }

    // The form.
    let token = hs256(HS, &good, SECRET.as_bytes());
    assert!(hs.verify(&token).is_ok());
    let [header, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    check(&hs, "empty", "", Missing);
    for bad in [
        format!("{header}.{body}"),
        format!("{header}.{body}.{signature}.x"),
        format!("{header}.{body}.{signature}."),
        format!(".{token}"),
        format!("{header}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{header}=.{body}.{signature}"),
        format!(" {token}"),
        format!("Bearer {token}"),
        format!("{header}.{body}\n.{signature}"),
        format!("{header}.é.{signature}"),
        "..".to_owned(),
        ".".to_owned(),
        "-".to_owned(),
        format!("{header}.{body}.{}.{signature}.{signature}", b64("iv")),
        "a".repeat(8193),
        format!("{header}.{}.{signature}", "a".repeat(8192)),
    ] {
        check(&hs, &bad, &bad, Malformed);
    }
    for bad in [
        format!("{header}.{body}."),
        format!("{header}.{body}.{}", &signature[1..]),
        format!("{header}.{body}.{signature}="),
        format!("{header}.{body}.{signature} "),
        format!("{header}.{body}.{signature}AA"),
        format!("{header}.{body}.****"),
        format!("{header}.{}.{signature}", b64(claims(json!({"user": 8})))),
    ] {
        check(&hs, &bad, &bad, Signature);
    }
    // Each bit of a signature matters.
    for index in 0..signature.len() {
        let mut other = signature.as_bytes().to_vec();
        other[index] = if other[index] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        check(&hs, "one character", &format!("{header}.{body}.{other}"), Signature);
    }
}

#[test]
fn an_issuer_speaks_only_with_its_key_and_for_its_tenants() {
    let folder = tempfile::tempdir().unwrap();
    let second = write(folder.path(), "second", "another-secret-of-at-least-32-bytes");
    let subject = Subject::new(|options| {
        options.issuers[0].tenants = vec!["acme".to_owned(), "beta".to_owned()];
        let mut other = issuer(KeySource::Hs256SecretFile(second));
        other.issuer = "second".to_owned();
        other.audiences = vec!["only-second".to_owned()];
        options.issuers.push(other);
    });
    assert!(subject.with(json!({"tenant":"beta"})).is_ok());
    assert_eq!(subject.with(json!({"tenant":"gamma"})), Err(TokenError::Tenant));
    assert_eq!(subject.with(json!({"tenant":"Acme"})), Err(TokenError::Tenant));
    assert_eq!(
        subject.with(json!({"iss":"second","aud":"only-second"})),
        Err(TokenError::Signature)
    );
    let own = hs256(
        HS,
        &claims(json!({"iss":"second","aud":"only-second","tenant":"gamma"})),
        b"another-secret-of-at-least-32-bytes",
    );
    assert!(subject.verify(&own).is_ok());
    let aud = hs256(HS, &claims(json!({"iss":"second"})), b"another-secret-of-at-least-32-bytes");
    assert_eq!(subject.verify(&aud), Err(TokenError::Audience));
}

#[test]
fn a_deployment_of_one_tenant_takes_no_other() {
    let subject = Subject::new(|options| options.tenant = Some("acme".to_owned()));
    assert_eq!(subject.with(json!({"tenant":null})).unwrap().tenant.as_str(), "acme");
    assert!(subject.with(json!({})).is_ok());
    assert_eq!(subject.with(json!({"tenant":"beta"})), Err(TokenError::Tenant));
}

#[test]
fn claim_names_are_configurable_paths() {
    let subject = Subject::new(|options| {
        options.claims = ClaimNames {
            tenant: "https://vms.example.com/tenant".to_owned(),
            user: "vms.user.key".to_owned(),
            roles: "realm_access.roles".to_owned(),
            business_units: "units".to_owned(),
            ..ClaimNames::default()
        };
    });
    let check = |changes: Value, id: &str, roles: &[&str], units: &[&str]| {
        let principal = subject.with(changes.clone()).unwrap();
        assert_eq!(&*principal.id, id, "{changes}");
        assert_eq!(principal.roles, roles, "{changes}");
        assert_eq!(principal.business_units, units, "{changes}");
    };
    let tenant = "https://vms.example.com/tenant";
    check(json!({tenant:"t"}), &format!("sub:{ISSUER}|anna"), &[], &[]);
    check(
        json!({tenant:"t","vms":{"user":{"key":11}},"realm_access":{"roles":["b","a","b"]},"units":"x, y z"}),
        "user:11",
        &["a", "b"],
        &["x", "y", "z"],
    );
    check(
        json!({tenant:"t","vms":7,"realm_access":[1],"units":""}),
        &format!("sub:{ISSUER}|anna"),
        &[],
        &[],
    );
    check(
        json!({tenant:"t","realm_access.roles":[59552772]}),
        &format!("sub:{ISSUER}|anna"),
        &["59552772"],
        &[],
    );
    assert_eq!(subject.with(json!({})), Err(TokenError::Tenant));
}

#[test]
fn the_mapping_adds_what_a_token_lacks() {
    let entry =
        |sub: Option<&str>, azp: Option<&str>, tenant: &str, user, roles: &[&str]| MappingEntry {
            issuer: ISSUER.to_owned(),
            sub: sub.map(str::to_owned),
            azp: azp.map(str::to_owned),
            tenant: Some(tenant.to_owned()),
            user,
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            business_units: Vec::new(),
        };
    let subject = Subject::new(|options| {
        options.mapping = vec![
            entry(Some("anna"), None, "acme", Some(21), &[]),
            entry(None, Some("loader"), "beta", None, &["producer"]),
        ];
    });
    let bare = |sub: &str, azp: Value| {
        subject.with(json!({"tenant":null,"user":null,"roles":null,"sub":sub,"azp":azp}))
    };
    let anna = bare("anna", json!("loader")).unwrap();
    assert_eq!((anna.tenant.as_str(), &*anna.id), ("acme", "user:21"));
    assert_eq!(anna.roles, ["producer"], "the entry for sub names none, the one for azp does");
    let loader = bare("x", json!("loader")).unwrap();
    assert_eq!((loader.tenant.as_str(), loader.user_key), ("beta", None));
    assert_eq!(bare("x", json!("unknown")), Err(TokenError::Tenant));
    assert_eq!(bare("x", json!(7)), Err(TokenError::Claims));
    let token_wins = subject.with(json!({"azp":"loader"})).unwrap();
    assert_eq!((token_wins.tenant.as_str(), &*token_wins.id), ("acme", "user:7"));
    assert_eq!(token_wins.roles, ["admin", "operator"]);
}

#[test]
fn a_verified_token_is_remembered_until_exp() {
    let subject = Subject::new(|_| {});
    let token = hs256(HS, &claims(json!({})), SECRET.as_bytes());
    let cached = |now| subject.verifier.verify_cached(&token, now);
    assert!(cached(NOW).is_none());
    let first = subject.runtime.block_on(subject.verifier.verify(&token, NOW)).unwrap();
    let again = subject.runtime.block_on(subject.verifier.verify(&token, NOW)).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &again));
    assert!(cached(NOW + 599).is_some());
    assert!(cached(NOW + 600).is_none());
    let at = |now| subject.runtime.block_on(subject.verifier.verify(&token, now)).err();
    assert_eq!(at(NOW + 609), None);
    assert_eq!(at(NOW + 610), Some(TokenError::Expired));
    let stats = subject.verifier.stats();
    assert_eq!((stats.cache_hits, stats.cache_entries), (2, 1));
}

#[test]
fn the_memory_of_tokens_is_bounded_and_keeps_what_is_used() {
    let subject = Subject::new(|options| options.verified_tokens_max = 20);
    let token = |n: usize| hs256(HS, &claims(json!({"user": n})), SECRET.as_bytes());
    let used = token(0);
    for n in 0..200 {
        subject.verify(&token(n)).unwrap();
        assert!(subject.verifier.verify_cached(&used, NOW).is_some(), "{n}");
        assert!(subject.verifier.stats().cache_entries <= 20);
    }
    assert!(subject.verifier.verify_cached(&token(1), NOW).is_none());
    assert!(subject.verifier.stats().cache_evicted > 0);
    let none = Subject::new(|options| options.verified_tokens_max = 0);
    none.verify(&used).unwrap();
    assert!(none.verifier.verify_cached(&used, NOW).is_none());
}

#[test]
fn all_problems_are_told_at_once_by_setting() {
    let folder = tempfile::tempdir().unwrap();
    let short = write(folder.path(), "short", "tooshort\n");
    let private = write(folder.path(), "private.pem", &KEY.private_pem);
    let not_pem = write(folder.path(), "not.pem", "hello");
    let dev = folder.path().join("dev");
    tidewire_auth::dev_secret(&dev).unwrap();
    let mut options = options(KeySource::Hs256SecretFile(short));
    let mut add = |key| {
        let mut other = issuer(key);
        other.issuer = format!("i{}", options.issuers.len());
        options.issuers.push(other);
    };
    add(KeySource::Hs256SecretFile(folder.path().join("missing")));
    add(KeySource::PemFile(private));
    add(KeySource::PemFile(not_pem));
    add(KeySource::Hs256SecretFile(dev));
    for url in ["http://id.example.com/keys", "ftp://x/", "keys", "https://u:p@id.example.com/"] {
        add(jwks(url.to_owned()));
    }
    options.issuers[2].audiences.clear();
    options.issuers[3].issuer = "i2".to_owned();
    options.issuers[4].issuer = "a|b".to_owned();
    options.issuers[5].tenants = vec![String::new()];
    options.tenant = Some("\n".to_owned());
    options.leeway_seconds = 31;
    options.mapping = vec![MappingEntry::default()];
    let problems = Verifier::new(&options).unwrap_err();
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let text = text.join("\n");
    for key in [
        "auth.leeway_seconds: ",
        "auth.issuers[0].key: ",
        "auth.issuers[1].key: ",
        "auth.issuers[2].key: ",
        "auth.issuers[2].audiences: ",
        "auth.issuers[3].key: ",
        "auth.issuers[3].issuer: another",
        "auth.issuers[4].key: ",
        "auth.issuers[4].issuer: ",
        "auth.issuers[5].key: http is for loopback only",
        "auth.issuers[5].tenants: ",
        "auth.issuers[6].key: ",
        "auth.issuers[7].key: ",
        "auth.issuers[8].key: ",
        "auth.tenant: ",
        "auth.mapping[0]: ",
    ] {
        assert!(text.contains(key), "{key} in:\n{text}");
    }
    assert!(!text.contains("tooshort") && !text.contains("u:p@"), "{text}");
    assert!(Verifier::new(&AuthOptions::default()).is_err());
}

#[test]
fn nothing_shows_a_token_or_a_secret() {
    let subject = Subject::new(|_| {});
    let token = hs256(HS, &claims(json!({})), SECRET.as_bytes());
    let principal = subject.verify(&token).unwrap();
    let mut shown = format!("{:?} {:?}", subject.verifier, principal);
    let [_, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    for bad in [format!("{token}x"), token.replace('.', "_"), format!("x{token}")] {
        let error = subject.verify(&bad).unwrap_err();
        shown += &format!("{error:?} {error} {} {}", error.message(), error.label());
    }
    for error in TokenError::ALL {
        assert_eq!(error.to_string(), error.message());
        assert_eq!(error.status(), if error == TokenError::KeysUnavailable { 503 } else { 401 });
    }
    for secret in [&token, body, signature, SECRET] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_or_verifies(text in any::<String>(), dotted in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_=-]{0,40}){0,4}") {
        let subject = Subject::new(|_| {});
        prop_assert!(subject.verify(&text).is_err());
        prop_assert!(subject.verify(&dotted).is_err());
    }

    #[test]
    fn no_header_and_no_body_verify_without_the_secret(header in any::<Vec<u8>>(), alg in "HS256|none|RS256", body in ".{0,40}", key in any::<Vec<u8>>()) {
        let subject = Subject::new(|_| {});
        prop_assume!(key != SECRET.as_bytes());
        let header_text = String::from_utf8_lossy(&header).into_owned();
        let claims = claims(json!({"sub": format!("s{}", body.len())}));
        prop_assert!(subject.verify(&hs256(&header_text, &claims, &key)).is_err());
        let plain = json!({"alg": alg}).to_string();
        prop_assert!(subject.verify(&hs256(&plain, &claims, &key)).is_err());
        prop_assert!(subject.verify(&hs256(HS, &body, SECRET.as_bytes())).is_err());
    }
}
