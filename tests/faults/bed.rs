//! The deployment that a run breaks: brokers, a Redis, a capture, three gateways, and a proxy in front of each
//! gateway, so that its address stays while its links come and go.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tidewire_auth::{MintClaims, TokenMinter, load_secret, unix_now};
use tidewire_testkit::kafka::Kafka;
use tidewire_testkit::link::LinkProxy;
use tidewire_testkit::redis::Redis;
use tidewire_testkit::service::Service;

use crate::topics::Topics;

pub(crate) const GATEWAYS: usize = 3;
pub(crate) const BROKERS: usize = 3;
pub(crate) const PARTITIONS: i32 = 6;
pub(crate) const TOPIC: &str = "changes";
/// Over how long a gateway that is told to stop closes its sockets.
pub(crate) const DRAIN_WINDOW: Duration = Duration::from_secs(6);
/// Who issues the tokens of a run, and for whom.
pub(crate) const ISSUER: &str = "https://id.test.example/";
pub(crate) const AUDIENCE: &str = "tidewire-faults";
/// The role that may post.
pub(crate) const PRODUCER: &str = "producer";
const SECRET: &str = "a secret of the fault runs, long enough for HS256 and for cursors";

pub(crate) struct Bed {
    pub(crate) links: Vec<LinkProxy>,
    pub(crate) gateways: Vec<Service>,
    pub(crate) capture: Service,
    pub(crate) redis: Redis,
    pub(crate) topics: Topics,
    pub(crate) kafka: Kafka,
    folder: TempDir,
}

impl Bed {
    /// `None`, and a loud word, where a part can't be had.
    pub(crate) fn start(brokers: usize) -> Option<Self> {
        Self::start_with(brokers, &[])
    }

    /// The same with settings of the gateways.
    pub(crate) fn start_with(brokers: usize, own: &[(&str, String)]) -> Option<Self> {
        let redis = Redis::start().expect("redis starts")?;
        let kafka = Kafka::start(brokers).expect("the brokers start")?;
        let topics = Topics::new(&kafka.bootstrap(), i32::try_from(brokers).unwrap());
        topics.create(TOPIC, PARTITIONS, "delete");
        topics.create("alerts", 1, "delete");
        topics.create("control", 1, "compact");
        topics.create("quarantine", 1, "compact");
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        let common = [
            ("kafka.brokers", kafka.bootstrap()),
            ("kafka.changes_topic", TOPIC.to_owned()),
            ("kafka.alerts_topic", "alerts".to_owned()),
            ("kafka.control_topic", "control".to_owned()),
            ("kafka.quarantine_topic", "quarantine".to_owned()),
            ("kafka.partitions", PARTITIONS.to_string()),
            ("kafka.replication_factor", brokers.to_string()),
            ("auth.hs256_secret_file", secret.display().to_string()),
            ("auth.issuer", ISSUER.to_owned()),
            ("auth.audience", AUDIENCE.to_owned()),
            ("auth.roles.producer", PRODUCER.to_owned()),
            ("model.self_base_url", "https://vms.example.com".to_owned()),
            ("log.level", "info".to_owned()),
        ];
        let mut gateway = vec![
            ("redis.url", redis.url()),
            ("rights.default", "open".to_owned()),
            ("gateway.drain_window", format!("{}s", DRAIN_WINDOW.as_secs())),
        ];
        gateway.extend_from_slice(own);
        let start = |binary, settings: &[(&str, String)]| {
            let settings = common.iter().chain(settings);
            let variable =
                |name: &str| format!("TIDEWIRE__{}", name.replace('.', "__").to_uppercase());
            let environment: Vec<_> =
                settings.map(|(name, value)| (variable(name), value.clone())).collect();
            let mut service = Service::prepare(binary, &environment).unwrap();
            service.launch().unwrap();
            service
        };
        let mut gateways: Vec<_> = (0..GATEWAYS).map(|_| start("gateway", &gateway)).collect();
        let mut capture = start("capture", &[]);
        gateways.iter_mut().for_each(|gateway| gateway.wait_until_ready().unwrap());
        capture.wait_until_ready().unwrap();
        let links = gateways.iter().map(|gateway| LinkProxy::start(gateway.public()).unwrap());
        Some(Self { links: links.collect(), gateways, capture, redis, topics, kafka, folder })
    }

    /// What signs the tokens.
    pub(crate) fn secret_file(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// A token good for an hour.
    pub(crate) fn token(&self, user: u64, roles: &[&str]) -> String {
        let mut claims = MintClaims::new("acme", unix_now());
        claims.user = Some(user);
        claims.roles = roles.iter().map(|&role| role.to_owned()).collect();
        claims.issuer = ISSUER.to_owned();
        claims.audience = AUDIENCE.to_owned();
        TokenMinter::mint(&load_secret(&self.secret_file()).unwrap(), &claims).unwrap()
    }
}
