//! Tests of the whole: sources in, settings or problems out.

use crate::{Service, Sources, load, print, reference};

/// What a gateway cannot do without.
fn sound() -> Sources {
    Sources::new().env(
        [
            ("TIDEWIRE__KAFKA__BROKERS", "localhost:9092"),
            ("TIDEWIRE__AUTH__ISSUER", "https://login.example.com"),
            ("TIDEWIRE__AUTH__AUDIENCE", "tidewire"),
            ("TIDEWIRE__AUTH__JWKS_URL", "https://login.example.com/keys"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    )
}

fn problems(sources: Sources) -> Vec<String> {
    match load(Service::Gateway, sources) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_service_has_sound_defaults() {
    load(Service::Dev, Sources::new()).expect("dev needs nothing");
    for service in Service::ALL {
        load(service, sound()).unwrap_or_else(|e| panic!("{}: {e}", service.name()));
    }
    assert_eq!(
        problems(Sources::new()),
        [
            "kafka.brokers: is required: host:port of some brokers (from the defaults)",
            "auth.issuer: is required: who issues the tokens (with auth.audience and auth.jwks_url or \
             auth.hs256_secret_file), or [[auth.issuers]] (from the defaults)",
        ]
    );
}

#[test]
fn each_bad_value_is_named() {
    let check = |assignment: &str, expected: &str| {
        assert_eq!(problems(sound().set([assignment.to_owned()])), [expected], "{assignment}");
    };
    check("http.listn=1", "http.listn: unknown key; did you mean http.listen? (from --set)");
    check(
        "http.listen=8080",
        "http.listen: \"8080\" is not address:port, such as 0.0.0.0:8080 (from --set)",
    );
    check(
        "gateway.ping_interval=25",
        "gateway.ping_interval: \"25\" is not a duration from 1s to 10m, such as 25s (from --set)",
    );
    check(
        "gateway.pong_timeout=25s",
        "gateway.pong_timeout: must be less than gateway.ping_interval (from --set)",
    );
    check(
        "gateway.queue_bytes_max=1",
        "gateway.queue_bytes_max: \"1\" is not a size from 4KiB to 64MiB, such as 64KiB (from --set)",
    );
    check(
        "gateway.shards=65",
        "gateway.shards: \"65\" is not a whole number from 0 to 64 (from --set)",
    );
    check(
        "gateway.shards=-1",
        "gateway.shards: \"-1\" is not a whole number from 0 to 64 (from --set)",
    );
    check(
        "log.level=loud",
        "log.level: \"loud\" is not a level, or a list such as info,tidewire_router=debug (from --set)",
    );
    check(
        "gateway.frame_bytes_max=128KiB",
        "gateway.frame_bytes_max: must not be more than gateway.message_bytes_max (from --set)",
    );
    check(
        "capture.change_max_bytes=32MiB",
        "capture.change_max_bytes: must not be more than capture.bulk_bytes_max (from --set)",
    );
    check(
        "kafka.objects_topic=tidewire.changes",
        "kafka.objects_topic: is the name of another topic too: each needs its own (from --set)",
    );
    check("kafka.group_prefix=", "kafka.group_prefix: must not be empty (from --set)");
    check(
        "auth.jwks_url=login.example.com?key=hunter2",
        "auth.jwks_url: is not a URL that starts with http:// or https:// (from --set)",
    );
    check("log.format=xml", "log.format: \"xml\" is not json or text (from --set)");
    check("rights.default=allow", "rights.default: \"allow\" is not deny or open (from --set)");
    check("auth.path_token=yes", "auth.path_token: \"yes\" is not true or false (from --set)");
    check(
        "auth.leeway=31s",
        "auth.leeway: \"31s\" is not a duration from 0ms to 30s, such as 25s (from --set)",
    );
    check(
        "public_url=events.example.com",
        "public_url: \"events.example.com\" is not a URL that starts with http:// or https:// (from --set)",
    );
    check(
        "http.allowed_origins=https://a.example.com/x",
        "http.allowed_origins: \"https://a.example.com/x\" is not an origin: scheme, host and port without a path, such as https://app.example.com (from --set)",
    );
    check(
        "http.allowed_origins=*",
        "http.allowed_origins: \"*\" is not an origin: scheme, host and port without a path, such as https://app.example.com (from --set)",
    );
    check(
        "http.trusted_proxies=10.0.0.0/33",
        "http.trusted_proxies: \"10.0.0.0/33\" is not an address or a network such as 10.0.0.0/8 (from --set)",
    );
    check(
        "internal.listen=0.0.0.0:8080",
        "internal.listen: must differ from http.listen (from --set)",
    );
    check(
        "kafka.changes_topic=a/b",
        "kafka.changes_topic: is not a topic name: 1 to 249 of A-Z a-z 0-9 . _ - (from --set)",
    );
    check(
        "kafka.properties.sasl.password=x",
        "kafka.properties.sasl.password: is a secret: put it into a file and name that in kafka.property_files",
    );
    check(
        "redis.mode=sentinel",
        "redis.sentinel_master: is required with redis.mode = \"sentinel\" (from the defaults)",
    );
    check(
        "redis.url=http://user:hunter2@x",
        "redis.url: is not a URL that starts with redis:// or rediss:// (from --set)",
    );
    check(
        "model.file=/nowhere",
        "model.file: /nowhere cannot be read: entity not found (from --set)",
    );
    check("http", "--set: expected section.key=value");
    check("http=1", "http: is a section, expected one of its keys (from --set)");
    check(
        "auth.issuers=[{issuer=\"x\",audiences=[\"a\"]}]",
        "auth.issuers[0]: needs exactly one of jwks_url, pem_file and hs256_secret_file (from --set)",
    );
    check(
        "auth.mapping=[{issuer=\"x\",azp=\"a\",tennant=\"t\"}]",
        "auth.mapping[0].tennant: unknown key; did you mean tenant? (from --set)",
    );
}

#[test]
fn names_in_the_environment() {
    let check = |variable: &str, expected: &[&str]| {
        let value =
            if variable.to_ascii_uppercase().ends_with("LISTEN") { "127.0.0.1:9" } else { "x" };
        let found = problems(sound().env([(variable.to_owned(), value.to_owned())]));
        assert_eq!(found, expected, "{variable}");
    };
    check("TIDEWIRE__HTTP__LISTEN", &[]);
    check("TIDEWIRE__http__Listen", &[]);
    check("TIDEWIRE__AUTH__CLAIMS__TENANT", &[]);
    check("TIDEWIRE__MODEL__ALL_KEYS_WORDS", &[]);
    check("TIDEWIRE__RIGHTS__READ__OPERATOR", &[]);
    check("TIDEWIRE_HTTP_LISTN", &[]);
    check("HOME", &[]);
    check(
        "TIDEWIRE__HTTP__LISTN",
        &["http.listn: unknown key; did you mean http.listen? (from TIDEWIRE__HTTP__LISTN)"],
    );
    check(
        "TIDEWIRE__HTTP_LISTEN_",
        &["http_listen_: unknown key; did you mean http.listen? (from TIDEWIRE__HTTP_LISTEN_)"],
    );
    check(
        "TIDEWIRE__KAFKA__BROKER",
        &["kafka.broker: unknown key; did you mean kafka.brokers? (from TIDEWIRE__KAFKA__BROKER)"],
    );
    check(
        "TIDEWIRE__HTTP__QUEUE_BYTES_MAX",
        &[
            "http.queue_bytes_max: unknown key; did you mean gateway.queue_bytes_max? (from TIDEWIRE__HTTP__QUEUE_BYTES_MAX)",
        ],
    );
    check(
        "TIDEWIRE__NOTHING__OF__THE_KIND",
        &["nothing.of.the_kind: unknown key (from TIDEWIRE__NOTHING__OF__THE_KIND)"],
    );
    check(
        "TIDEWIRE__HTTP",
        &["http: is a section, expected one of its keys (from TIDEWIRE__HTTP)"],
    );
    check(
        "TIDEWIRE__GATEWAY__SHARDS",
        &[
            "gateway.shards: \"x\" is not a whole number from 0 to 64 (from TIDEWIRE__GATEWAY__SHARDS)",
        ],
    );
}

#[test]
fn bad_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidewire.toml");
    let path = file.display();
    let check = |text: &str, expected: &[String]| {
        std::fs::write(&file, text).unwrap();
        assert_eq!(problems(sound().file(Some(&file))), expected, "{text}");
    };
    check("", &[]);
    check("[kafka.properties]\n\"sasl.mechanism\" = \"PLAIN\"\n", &[]);
    check("[kafka.properties]\nsasl.mechanism = \"PLAIN\"\n", &[]);
    check("http = 1\n", &[format!("http: is a section, expected a table (from {path})")]);
    check("[htpp]\nlisten = \"127.0.0.1:1\"\n", &[format!("htpp: unknown key (from {path})")]);
    check(
        "\n[gateway]\nshards = true\n",
        &[format!("gateway.shards: \"true\" is not a whole number from 0 to 64 (from {path})")],
    );
    std::fs::write(&file, "\n[http\n").unwrap();
    let found = problems(sound().file(Some(&file)));
    assert!(found.concat().starts_with(&format!("{path}: line 2: ")), "{found:?}");
    let gone = folder.path().join("gone.toml");
    assert_eq!(
        problems(sound().file(Some(&gone))),
        [format!("{}: cannot be read: entity not found", gone.display())]
    );
}

#[test]
fn what_is_printed_is_toml_and_says_where_it_came_from() {
    let issuers = "auth.issuers=[{issuer=\"x\",audiences=[\"a\"],jwks_url=\"https://x/keys\"}]";
    let sources = sound().set([
        issuers.to_owned(),
        "gateway.shards=3".to_owned(),
        "kafka.properties.sasl.mechanism=PLAIN".to_owned(),
        "http.allowed_origins=https://a.example.com,https://b.example.com".to_owned(),
    ]);
    let page = print(Service::Capture, sources).unwrap();
    page.parse::<toml::Table>().unwrap_or_else(|error| panic!("{error}\n{page}"));
    for line in [
        "gateway.shards = \"3\" # --set",
        "http.listen = \"0.0.0.0:8082\" # the defaults of capture",
        "kafka.brokers = \"localhost:9092\" # TIDEWIRE__KAFKA__BROKERS",
        "http.allowed_origins = [\"https://a.example.com\", \"https://b.example.com\"] # --set",
        "kafka.properties.\"sasl.mechanism\" = \"PLAIN\"",
        "# auth.issuers: tables, from --set",
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line} is not in\n{page}");
    }
}

#[test]
fn all_problems_are_named_at_once() {
    let found = problems(sound().set([
        "gateway.shards=x".into(),
        "http.lsten=1".into(),
        "log.format=x".into(),
    ]));
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn later_sources_win() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidewire.toml");
    std::fs::write(&file, "[gateway]\nshards = 3\nping_interval = \"10s\"\n").unwrap();
    let settings = load(
        Service::Gateway,
        sound()
            .file(Some(&file))
            .env([("TIDEWIRE__GATEWAY__SHARDS".to_owned(), "4".to_owned())])
            .flag("--shards", "gateway.shards", "5"),
    )
    .unwrap();
    assert_eq!(settings.gateway.shards, 5);
    assert_eq!(settings.gateway.ping_interval.as_secs(), 10);
    std::fs::write(&file, "[gateway]\nshrads = 3\n").unwrap();
    let found = problems(sound().file(Some(&file)));
    assert_eq!(found.len(), 1);
    assert!(
        found.concat().starts_with("gateway.shrads: unknown key; did you mean gateway.shards?")
    );
}

#[test]
fn kafka_properties_keep_their_dots() {
    let settings = load(
        Service::Gateway,
        sound().env([(
            "TIDEWIRE__KAFKA__PROPERTIES__SASL_MECHANISM".to_owned(),
            "SCRAM-SHA-512".to_owned(),
        )]),
    )
    .unwrap();
    let found: Vec<_> = settings.kafka.properties.into_iter().collect();
    assert_eq!(found, [("sasl.mechanism".to_owned(), "SCRAM-SHA-512".to_owned())]);
}

#[test]
fn secrets_are_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let sources = sound().set([
        "redis.url=redis://user:hunter2@localhost".to_owned(),
        format!("redis.password_file={}", file.display()),
        format!("kafka.property_files.sasl.password={}", file.display()),
    ]);
    let settings = load(Service::Gateway, sources.clone()).unwrap();
    assert_eq!(settings.kafka.secret_properties["sasl.password"].expose(), "hunter2");
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(!print(Service::Gateway, sources).unwrap().contains("hunter2"));
}

#[test]
fn the_reference_names_every_key() {
    let page = reference();
    for key in &crate::schema::SCHEMA.keys {
        let variable = format!("TIDEWIRE__{}", key.to_ascii_uppercase().replace('.', "__"));
        assert!(page.contains(&format!("`{variable}`")), "{key}");
    }
}
