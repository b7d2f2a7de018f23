//! `tidewire dev`: everything in one process; a page that moves, and the command line beside it.

use std::process::Command;

use serde_json::Value;
use tidewire_testkit::http::request;
use tidewire_testkit::service::{Service, binary};
use tidewire_testkit::tools::Browser;

use crate::support::object_path;
use crate::support::socket::Wish;

fn dev(rate: &str) -> Service {
    let service = Service::prepare("tidewire", &[]).unwrap();
    let [public, internal] =
        [service.public(), service.internal()].map(|address| address.port().to_string());
    let arguments =
        ["dev", "--port", &public, "--internal-port", &internal, "--rate", rate, "--seed", "7"];
    let mut service = service.with_arguments(&arguments);
    service.launch().unwrap();
    service.wait_until_ready().unwrap();
    service
}

/// Runs the command line beside it, where the development secret is.
fn tidewire(service: &Service, arguments: &[&str]) -> String {
    let mut command = Command::new(binary("tidewire").unwrap());
    let output = command.args(arguments).current_dir(service.folder()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_posted_to_dev_reaches_a_socket() {
    let service = dev("0");
    let printed =
        tidewire(&service, &["token", "--tenant", "demo", "--user", "5", "--role", "producer"]);
    let token = printed.strip_suffix('\n').unwrap();
    assert!(!token.contains(char::is_whitespace), "one token and a newline: {printed}");
    let mut socket = Wish::new(service.public(), &object_path("Port/C/1", token)).open().await;
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let change =
        r#"{"objectType":"Port","key":1,"operation":"C","new":{"key":1,"portName":"Bergen"}}"#;
    let posted =
        request(service.public(), "POST", "/api/v1/changes", &headers, change.as_bytes()).unwrap();
    assert_eq!(posted.status, 200, "{}", posted.body);
    let posted: Value = serde_json::from_str(&posted.body).unwrap();
    let message = socket.json().await;
    assert_eq!((&message["id"], &message["dataloyObject"]), (&posted["id"], &1.into()));
    let own = format!("http://localhost:{}/ws/rest/Port/1", service.public().port());
    assert_eq!(message["dataloyObjectSelf"], own.as_str());
    let mode = std::fs::metadata(service.folder().join(".tidewire/dev-secret")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else reads the secret");
    assert!(service.log().contains(&format!(":{}/", service.public().port())), "it prints its URL");
    service.signal("TERM").unwrap();
    let mut service = service;
    assert_eq!(service.wait(std::time::Duration::from_secs(15)).unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_shows_the_fleet() {
    let service = dev("40");
    let url = format!("ws://{}", service.public());
    let list = r#"{"speed":"*"}"#;
    let shown = tidewire(
        &service,
        &["watch", "PortCall", "U", "*", "--fields", list, "--url", &url, "--json", "--count", "3"],
    );
    let messages: Vec<Value> =
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages.len(), 3, "{shown}");
    for message in messages {
        assert!(message["dataloyObject"]["self"].is_string(), "{message}");
    }
}

/// Waits until the page moves, then edits the field list twice: once badly, once well.
const SCRIPT: &str = r##"
const tab = await chromium.newPage();
const errors = [];
tab.on('pageerror', (error) => errors.push(String(error)));
await tab.goto(args[0]);
const number = (id) => tab.$eval(id, (element) => Number(element.textContent));
await tab.waitForFunction(() => document.querySelectorAll('#rows tr').length > 1, null, { timeout: 60000 });
const before = await number('#total');
await tab.waitForFunction((before) => Number(document.querySelector('#total').textContent) > before + 5,
  before, { timeout: 60000 });
await tab.fill('#fields', '{"noSuchFieldAtAll":"*"}');
await tab.click('#field-list button[type=submit]');
await tab.waitForFunction(() => document.querySelector('#fields-state').textContent.includes('noSuchFieldAtAll'),
  null, { timeout: 20000 });
await tab.fill('#fields', '{"key":"*"}');
await tab.click('#field-list button[type=submit]');
await tab.waitForFunction(() => {
  try { return Object.keys(JSON.parse(document.querySelector('#raw').textContent).dataloyObject).join() === 'key,self'; }
  catch { return false; }
}, null, { timeout: 20000 });
console.log(JSON.stringify({ errors, voyages: await number('#voyages'), state: await tab.textContent('#link-state') }));
"##;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_moves() {
    let Some(browser) = Browser::find().unwrap() else { return };
    let service = dev("40");
    let url = format!("http://{}/", service.public());
    let seen: Value = serde_json::from_str(&browser.run(SCRIPT, &[&url]).unwrap()).unwrap();
    assert_eq!(seen["errors"], Value::Array(vec![]), "{seen}");
    assert!(seen["voyages"].as_u64().is_some_and(|voyages| voyages > 0), "{seen}");
}

/// Waits until each of the samples has fired, then until a script that is saved beside the page is shown.
const ALERTS: &str = r##"
const tab = await chromium.newPage();
const errors = [];
tab.on('pageerror', (error) => errors.push(String(error)));
await tab.goto(args[0]);
await tab.waitForFunction(() => document.querySelectorAll('#alert-scripts li[data-state=open]').length === 7,
  null, { timeout: 30000 });
await tab.waitForFunction(() => [...document.querySelectorAll('#alert-scripts b')].every((one) => Number(one.textContent) > 0),
  null, { timeout: 60000 });
const shown = await tab.$eval('#alerts li', (item) => [...item.children].map((part) => part.textContent));
const counted = await tab.$$eval('#alert-scripts b', (all) => all.reduce((sum, one) => sum + Number(one.textContent), 0));
const { execFileSync } = require('child_process');
execFileSync(args[1], ['script', 'put', args[2], '--url', args[0]], { cwd: args[3] });
await tab.waitForFunction(() => document.querySelectorAll('#alert-scripts li[data-state=open]').length === 8,
  null, { timeout: 30000 });
console.log(JSON.stringify({ errors, shown, counted, total: await tab.textContent('#alert-total') }));
"##;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_shows_alerts() {
    let Some(browser) = Browser::find().unwrap() else { return };
    let service = dev("60");
    let url = format!("http://{}", service.public());
    let listed = tidewire(&service, &["script", "list", "--url", &url]);
    assert_eq!(listed.lines().count(), 8, "seven samples and a headline: {listed}");
    let script = service.folder().join("every-voyage.json");
    let record = r#"{"name":"Every voyage","code":"every-voyage","scriptBody":"true",
        "triggers":[{"objectType":"Voyage","eventType":"*"}],"alertScriptMessage":"changed"}"#;
    std::fs::write(&script, record).unwrap();
    let program = binary("tidewire").unwrap();
    let [program, script, folder] = [program.as_path(), script.as_path(), service.folder()]
        .map(|path| path.display().to_string());
    let seen = browser.run(ALERTS, &[&url, &program, &script, &folder]).unwrap();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["errors"], Value::Array(vec![]), "{seen}");
    let shown = seen["shown"].as_array().unwrap();
    assert!(shown.len() == 4 && shown.iter().all(|part| part != ""), "{seen}");
    assert!(seen["counted"].as_u64().is_some_and(|counted| counted >= 7), "{seen}");
    let metrics = request(service.internal(), "GET", "/metrics", &[], b"").unwrap().body;
    let fired = metrics.lines().find_map(|line| line.strip_prefix("tidewire_alerts_fired_total "));
    assert!(
        fired.is_some_and(|count| count != "0"),
        "the alerts service is scraped too: {fired:?}"
    );
}
