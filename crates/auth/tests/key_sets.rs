//! Key sets behind a URL.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod support;

use std::sync::Arc;

use serde_json::{Value, json};
use support::{KEY, KeyServer, NOW, OTHER_KEY, RS, Rsa, claims, jwks, options, rs_header, rs256};
use tidewire_auth::{KeySource, TokenError, Verifier};

fn verifier(server: &KeyServer) -> Arc<Verifier> {
    Arc::new(Verifier::new(&options(jwks(server.url()))).unwrap())
}

fn token(kid: &str, key: &Rsa, user: u64) -> String {
    rs256(&rs_header(kid), &claims(json!({"user": user})), key)
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_one_fetch_in_30_seconds() {
    let server = KeyServer::new(&[KEY.jwk("a")]);
    let verifier = verifier(&server);
    assert_eq!(verifier.stats().issuers_without_keys, 1);
    assert!(verifier.verify(&token("a", &KEY, 1), NOW).await.is_ok());
    assert_eq!(server.requests(), 1);
    for n in 0..100 {
        let forged = token(&format!("forged{n}"), &OTHER_KEY, 2);
        let at = NOW + n % 30;
        assert_eq!(verifier.verify(&forged, at).await, Err(TokenError::Signature));
    }
    assert_eq!(server.requests(), 1);

    let flood: Vec<_> = (0..50)
        .map(|n| {
            let verifier = Arc::clone(&verifier);
            let forged = token(&format!("forged{n}"), &OTHER_KEY, 3);
            async move { verifier.verify(&forged, NOW + 30).await }
        })
        .collect();
    let mut tasks = tokio::task::JoinSet::new();
    for one in flood {
        tasks.spawn(one);
    }
    for outcome in tasks.join_all().await {
        assert_eq!(outcome, Err(TokenError::Signature));
    }
    assert_eq!(server.requests(), 2);
    // A clock that is set back does not shut the door.
    let _ = verifier.verify(&token("forged", &OTHER_KEY, 4), NOW - 100_000).await;
    assert_eq!(server.requests(), 3);
    assert_eq!(verifier.stats().key_fetches, 3);
    assert_eq!(verifier.stats().issuers_without_keys, 0);
}

#[tokio::test]
async fn the_last_good_set_is_kept() {
    let server = KeyServer::new(&[KEY.jwk("a")]);
    let verifier = verifier(&server);
    assert!(verifier.refresh_keys(NOW).await);
    let mut user = 0;
    for (status, body) in [
        (500, String::new()),
        (302, String::new()),
        (404, json!({"keys":[OTHER_KEY.jwk("a")]}).to_string()),
        (200, String::new()),
        (200, "{".to_owned()),
        (200, "{}".to_owned()),
        (200, r#"{"keys":{}}"#.to_owned()),
        (200, r#"{"keys":[]}"#.to_owned()),
        (200, json!({"keys":[{"kty":"EC"}]}).to_string()),
        (200, format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(300 * 1024))),
    ] {
        user += 1;
        server.answer(status, body.clone());
        assert!(!verifier.refresh_keys(NOW).await, "{status}");
        assert!(verifier.verify(&token("a", &KEY, user), NOW).await.is_ok(), "{status}");
    }
    drop(server);
    assert!(!verifier.refresh_keys(NOW).await);
    assert!(verifier.verify(&token("a", &KEY, 99), NOW).await.is_ok());
    // Perhaps the issuer's new key: nobody can say.
    let unknown = verifier.verify(&token("b", &KEY, 99), NOW).await;
    assert_eq!(unknown, Err(TokenError::KeysUnavailable));
    let stats = verifier.stats();
    assert_eq!((stats.key_fetches, stats.key_fetches_failed), (12, 11));
}

#[tokio::test]
async fn without_any_key_set_nobody_is_refused_for_good() {
    let server = KeyServer::new(&[]);
    let verifier = verifier(&server);
    let good = token("a", &KEY, 1);
    assert_eq!(verifier.verify(&good, NOW).await, Err(TokenError::KeysUnavailable));
    assert_eq!(verifier.verify(&good, NOW + 29).await, Err(TokenError::KeysUnavailable));
    assert_eq!(server.requests(), 1);
    server.keys(&[KEY.jwk("a")]);
    assert!(verifier.verify(&good, NOW + 30).await.is_ok());
}

#[tokio::test]
async fn a_new_key_is_found_and_a_key_taken_back_voids_what_it_signed() {
    let server = KeyServer::new(&[KEY.jwk("a")]);
    let verifier = verifier(&server);
    let old = token("a", &KEY, 1);
    assert!(verifier.verify(&old, NOW).await.is_ok());

    server.keys(&[KEY.jwk("a"), OTHER_KEY.jwk("b")]);
    assert!(verifier.verify(&token("b", &OTHER_KEY, 2), NOW + 60).await.is_ok());
    assert!(verifier.verify_cached(&old, NOW + 60).is_some(), "an added key voids nothing");
    assert_eq!(
        verifier.verify(&token("a", &OTHER_KEY, 3), NOW + 60).await,
        Err(TokenError::Signature),
        "each id has its own key"
    );

    server.keys(&[OTHER_KEY.jwk("b")]);
    assert!(verifier.refresh_keys(NOW + 120).await);
    assert!(verifier.verify_cached(&old, NOW + 120).is_none());
    assert_eq!(verifier.verify(&old, NOW + 120).await, Err(TokenError::Signature));
}

#[tokio::test]
async fn a_caller_that_goes_away_loses_no_fetch() {
    let server = KeyServer::new(&[KEY.jwk("a")]);
    let verifier = verifier(&server);
    let good = token("a", &KEY, 1);
    // Polled once, which starts the fetch, then dropped.
    let _ = futures_poll_once(verifier.verify(&good, NOW)).await;
    assert!(verifier.verify(&good, NOW).await.is_ok());
    assert_eq!(server.requests(), 1);
}

async fn futures_poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn only_rsa_keys_for_signatures_count() {
    let with = |name: &str, value: Value| {
        let mut key = OTHER_KEY.jwk("x");
        key.as_object_mut().unwrap().insert(name.to_owned(), value);
        key
    };
    let short = support::b64([0xff; 128]);
    let long = support::b64(vec![0xff; 1025]);
    let ignored = [
        with("kty", json!("EC")),
        with("kty", json!("oct")),
        with("kty", json!(null)),
        with("use", json!("enc")),
        with("use", json!(1)),
        with("alg", json!("RS512")),
        with("alg", json!("HS256")),
        with("alg", json!("none")),
        with("key_ops", json!(["encrypt"])),
        with("key_ops", json!("verify")),
        with("kid", json!(7)),
        with("kid", json!("k".repeat(257))),
        with("n", json!("not base64!")),
        with("n", json!(short)),
        with("n", json!(long)),
        with("n", json!("")),
        with("e", json!("AQ")),
        with("e", json!("AAAC")),
        with("e", json!("")),
        with("e", json!(65537)),
        json!({"kty":"oct","kid":"x","k":"c2VjcmV0","alg":"HS256"}),
        json!(7),
        json!(null),
        OTHER_KEY.jwk("a"),
    ];
    let mut keys = vec![KEY.jwk("a")];
    keys.extend(ignored.clone());
    let server = KeyServer::new(&keys);
    let verifier = verifier(&server);
    assert!(verifier.refresh_keys(NOW).await);
    assert_eq!(verifier.stats().keys_ignored, ignored.len() as u64);
    assert!(verifier.verify(&token("a", &KEY, 1), NOW).await.is_ok());
    for refused in [token("x", &OTHER_KEY, 1), token("a", &OTHER_KEY, 1)] {
        assert_eq!(verifier.verify(&refused, NOW).await, Err(TokenError::Signature));
    }
    // An oct key of the set is no HMAC secret.
    let header = json!({"alg":"HS256","kid":"x"}).to_string();
    let forged = support::hs256(&header, &claims(json!({})), b"secret");
    assert_eq!(verifier.verify(&forged, NOW).await, Err(TokenError::Signature));

    let plain =
        json!({"kty":"RSA","kid":"p","n":KEY.modulus,"e":KEY.exponent,"key_ops":["verify"]});
    server.keys(&[plain]);
    assert!(verifier.refresh_keys(NOW).await);
    assert!(verifier.verify(&token("p", &KEY, 1), NOW).await.is_ok());
}

#[tokio::test]
async fn a_token_without_kid_needs_a_set_of_one_key() {
    let bare = rs256(RS, &claims(json!({})), &KEY);
    let server = KeyServer::new(&[KEY.jwk("a")]);
    let verifier = verifier(&server);
    assert!(verifier.verify(&bare, NOW).await.is_ok());
    server.keys(&[KEY.jwk("a"), OTHER_KEY.jwk("b")]);
    assert!(verifier.refresh_keys(NOW).await);
    let other = rs256(RS, &claims(json!({"user":8})), &KEY);
    assert_eq!(verifier.verify(&other, NOW + 60).await, Err(TokenError::Signature));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn an_https_key_set_that_cannot_be_had_is_an_error_and_no_panic() {
    // A port that speaks no TLS.
    let server = KeyServer::new(&[]);
    let url = server.url().replace("http:", "https:");
    let verifier = Verifier::new(&options(jwks(url))).unwrap();
    let refused = verifier.verify(&token("a", &KEY, 1), NOW).await;
    assert_eq!(refused, Err(TokenError::KeysUnavailable));
    assert_eq!(verifier.stats().key_fetches_failed, 1);
}

#[test]
fn http_is_for_loopback_unless_allowed() {
    let check = |url: &str, allow_http: bool, expected: bool| {
        let key = KeySource::Jwks { url: url.to_owned(), ca_file: None, allow_http };
        assert_eq!(Verifier::new(&options(key)).is_ok(), expected, "{url} {allow_http}");
    };
    check("https://id.example.com/keys", false, true);
    check("http://localhost/keys", false, true);
    check("http://LOCALHOST:81/keys", false, true);
    check("http://127.0.0.1:8080/keys", false, true);
    check("http://127.9.9.9/keys", false, true);
    check("http://[::1]:8080/keys", false, true);
    check("http://id.example.com/keys", false, false);
    check("http://id.example.com/keys", true, true);
    check("http://localhost.example.com/keys", false, false);
    check("http://127.0.0.1.example.com/", false, false);
    check("http://127.0.0.1@example.com/", false, false);
    check("http://10.0.0.1/keys", false, false);
    check("file:///etc/passwd", true, false);
    check("", true, false);
}
