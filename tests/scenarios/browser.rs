//! A real browser: a page that does nothing but `new WebSocket(url)`.

use serde_json::Value;
use tidewire_testkit::tools::Browser;

use crate::support::keys::serve;
use crate::support::{Setup, World, object_path};

const PAGE: &str = "<!doctype html><title>a page</title>";

/// Opens a socket in the page, posts when it is open (from here, through a binding), and prints what came.
const SCRIPT: &str = r"
const [page, url, protocols, change, capture, token] = args;
const tab = await chromium.newPage();
await tab.exposeFunction('post', async () => {
  const answer = await fetch(capture, { method: 'POST', body: change,
    headers: { 'content-type': 'application/json', authorization: 'Bearer ' + token } });
  return answer.status;
});
await tab.goto(page);
const seen = await tab.evaluate(([url, protocols, change]) => new Promise((resolve) => {
  const seen = { messages: [] };
  const socket = protocols ? new WebSocket(url, protocols.split(' ')) : new WebSocket(url);
  let posted;
  socket.onopen = () => {
    seen.protocol = socket.protocol;
    if (change) { posted = window.post(); }
  };
  socket.onmessage = async (event) => {
    seen.messages.push(event.data);
    // It may overtake the answer to the post.
    if (change) { seen.posted = await posted; socket.close(1000); }
  };
  socket.onclose = (event) => { seen.code = event.code; seen.reason = event.reason; resolve(seen); };
}), [url, protocols, change]);
console.log(JSON.stringify(seen));
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_gets_messages_and_reads_refusals() {
    let Some(browser) = Browser::find().unwrap() else { return };
    let origin = format!("http://{}", serve("text/html", PAGE.to_owned()));
    let allowed = ("http.allowed_origins", format!("[\"{origin}\"]"));
    let Some(world) = World::start(Setup { gateway: vec![allowed], ..Setup::default() }) else {
        return;
    };
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let producer = world.token(&tenant, 2, &["producer"]);
    let change =
        r#"{"objectType":"Voyage","key":1,"operation":"U","new":{"key":1,"comments":"Å"}}"#;
    let capture = format!("http://{}/api/v1/changes", world.capture.public());
    let run = |wish: &str, in_path: &str, protocols: &str, change: &str| -> Value {
        let url = format!("ws://{}{}", world.public(0), object_path(wish, in_path));
        let args = [&*origin, &url, protocols, change, &capture, &producer];
        serde_json::from_str(&browser.run(SCRIPT, &args).unwrap()).unwrap()
    };
    let list = "Voyage/U/1?fields=%7B%22comments%22:%22*%22%7D";
    let offered = format!("vms bearer.{token}");
    for (in_path, protocols, echoed) in [(token.as_str(), "", ""), ("-", offered.as_str(), "vms")] {
        let seen = run(list, in_path, protocols, change);
        assert_eq!((&seen["posted"], &seen["protocol"]), (&200.into(), &echoed.into()), "{seen}");
        let message: Value = serde_json::from_str(seen["messages"][0].as_str().unwrap()).unwrap();
        assert_eq!(message["dataloyObject"]["comments"], "Å");
        assert_eq!(seen["code"], 1000, "{seen}");
    }
    // A page cannot see a refused handshake; with `refuse=close` it is told.
    let seen = run("Voyage/X/1", &token, "", "");
    assert_eq!((&seen["code"], &seen["messages"]), (&1006.into(), &Value::Array(vec![])));
    let seen = run("Voyage/X/1?refuse=close", "-", &offered, "");
    assert_eq!((&seen["code"], &seen["reason"]), (&4000.into(), &"bad-request".into()), "{seen}");
    let told: Value = serde_json::from_str(seen["messages"][0].as_str().unwrap()).unwrap();
    assert_eq!(told["statusCode"], 400);
}
