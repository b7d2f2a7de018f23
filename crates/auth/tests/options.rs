//! The options as a file or the environment gives them.

use tidewire_auth::{AuthOptions, KeySource};

fn read(json: &str) -> Result<AuthOptions, serde_json::Error> {
    serde_json::from_str(json)
}

#[test]
fn options_are_read_as_the_reference_shows_them() {
    let options = read(
        r#"{"issuers":[
            {"issuer":"a","audiences":["tidewire"],"key":{"jwks":{"url":"https://a/keys"}},"tenants":"acme,beta"},
            {"issuer":"b","audiences":"tidewire","key":{"pem_file":"/b.pem"}},
            {"issuer":"c","audiences":["x"],"key":{"hs256_secret_file":"/c"}}],
          "claims":{"roles":"realm_access.roles"},
          "roles":{"producer":["LOADER"]},
          "mapping":[{"issuer":"a","azp":"loader","tenant":"acme","roles":["LOADER"]}]}"#,
    )
    .unwrap();
    let [a, b, c] = &options.issuers[..] else { panic!("three issuers") };
    let jwks =
        KeySource::Jwks { url: "https://a/keys".to_owned(), ca_file: None, allow_http: false };
    assert_eq!((&a.key, &a.tenants[..]), (&jwks, &["acme".to_owned(), "beta".to_owned()][..]));
    assert_eq!((&b.key, &b.audiences[0][..]), (&KeySource::PemFile("/b.pem".into()), "tidewire"));
    assert_eq!(c.key, KeySource::Hs256SecretFile("/c".into()));
    assert_eq!(options.claims.tenant, "tenant");
    assert_eq!(options.mapping[0].azp.as_deref(), Some("loader"));
    assert_eq!(read("{}").unwrap(), AuthOptions::default());
}

#[test]
fn unknown_settings_are_refused() {
    for bad in [
        r#"{"issuer":"a"}"#,
        r#"{"development_secret_allowed":true}"#,
        r#"{"issuers":[{"issuer":"a","audiences":"x","key":{"url":"https://a"}}]}"#,
        r#"{"issuers":[{"issuer":"a","audiences":"x"}]}"#,
        r#"{"claims":{"tenent":"x"}}"#,
        r#"{"mapping":[{"isuer":"a"}]}"#,
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
