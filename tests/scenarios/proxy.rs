//! A client written for the VMS runs unchanged behind the nginx sample that keeps one host name: the
//! documented URL, the published field list, `{}`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidewire_testkit::ports::free_port;
use tidewire_testkit::tools::program;

use crate::fields::PUBLISHED;
use crate::support::keys::serve;
use crate::support::socket::Wish;
use crate::support::{Setup, World, ask, object_path, wait_until};

/// nginx in the foreground, under a shell that kills it when this process has gone.
struct Nginx {
    keeper: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

const KEEPER: &str = r#"nginx -c "$1" -e "$2" & pid=$!
read -r _
kill -TERM "$pid"
wait "$pid""#;

impl Nginx {
    /// The sample `one-host-name`, with the hosts and files of the test in place of its own.
    fn start(gateways: [SocketAddr; 2], vms: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().display().to_string();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nginx");
        for name in ["one-host-name.conf", "maps.inc", "socket.inc"] {
            let text = fs::read_to_string(samples.join(name)).unwrap();
            let text = text
                .replace("/etc/nginx/tidewire", &here)
                .replace("/var/log/nginx", &here)
                .replace("gateway-1:8080", &gateways[0].to_string())
                .replace("gateway-2:8080", &gateways[1].to_string())
                .replace("vms.internal:8443", &vms.to_string())
                .replace("listen 80;", &format!("listen {address};"));
            fs::write(folder.path().join(name), text).unwrap();
        }
        // As root it would switch to a user of its own, who can't read this folder.
        let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let user = if root { "user root;" } else { "" };
        let temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {here}/{kind};"));
        let main = format!(
            "{user} daemon off; worker_processes 1; pid {here}/pid; error_log {here}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{ {} include {here}/one-host-name.conf; }}\n",
            temps.join(" ")
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, main).unwrap();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&file)
            .arg(folder.path().join("error.log"))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Self { keeper, folder, address }
    }

    fn logs(&self) -> String {
        ["error.log", "tidewire.log"]
            .map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        if std::thread::panicking() {
            eprintln!("--- nginx:\n{}", self.logs());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_the_vms_runs_unchanged() {
    if !program("nginx", "-v", "nginx-light").unwrap() {
        return;
    }
    let Some(world) = World::start(Setup::default()) else { return };
    let vms = serve("application/json", r#"{"the":"vms"}"#.to_owned());
    let nginx = Nginx::start([world.public(0), world.public(1)], vms);
    wait_until("nginx listens", Duration::from_secs(10), || {
        std::net::TcpStream::connect(nginx.address).is_ok()
    })
    .await;
    let tenant = world.tenant();
    let token = world.token(&tenant, 1, &[]);
    let path = object_path("BunkerOrder/U/243885046", &token);
    let host = nginx.address.to_string();
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let wish = Wish::new(nginx.address, &path).header("Origin", &format!("http://{host}"));
        sockets.push(wish.open().await);
    }
    let order = r#"{"objectType":"BunkerOrder","key":243885046,"operation":"U","new":{"key":243885046,"remarks":"now","vessel":{"key":3,"vesselName":"Ask","imoNumber":"9074729"},"portCall":{"key":4,"agent":null,"port":{"key":11,"portName":"Bergen","timezone":"Europe/Oslo"},"eventLogs":[]}}}"#;
    for socket in &mut sockets {
        socket.set_fields(PUBLISHED).await;
    }
    let id = world.post(&tenant, order).await;
    for socket in &mut sockets {
        let message = socket.json().await;
        assert_eq!(message["id"], id.as_str());
        let object = &message["dataloyObject"];
        assert_eq!(object["portCall"]["port"]["portName"], "Bergen");
        assert_eq!(
            (&object["vessel"]["vesselName"], &object["remarks"]),
            (&"Ask".into(), &"now".into())
        );
        socket.set_fields("{}").await;
    }
    let id = world.post(&tenant, order).await;
    for socket in &mut sockets {
        let message = socket.json().await;
        assert_eq!(
            (&message["id"], &message["dataloyObject"]),
            (&id.clone().into(), &243_885_046.into())
        );
    }
    // The rest of the host is the VMS's.
    for path in ["/", "/ws/rest/BunkerOrder/243885046"] {
        let answer = ask(nginx.address, "GET", path, &[]).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"the":"vms"}"#), "{path}");
    }
    // Refusals come through as they are.
    let bad = object_path("BunkerOrder/X/1", &token);
    assert_eq!(Wish::new(nginx.address, &bad).try_open().await.err(), Some(400));
    let served = |gateway: usize| world.gateways[gateway].metric("tidewire_connections").unwrap();
    assert_eq!((served(0), served(1)), (2.0, 2.0), "new sockets go to whoever has fewest");
    drop(sockets);
    let signature = token.rsplit('.').next().unwrap();
    wait_until("the access log names the sockets", Duration::from_secs(5), || {
        nginx.logs().matches("/BunkerOrder/U/243885046/[token]").count() >= 4
    })
    .await;
    assert!(!nginx.logs().contains(signature), "no token in nginx's logs");
}
