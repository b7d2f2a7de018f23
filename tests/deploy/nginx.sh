#!/usr/bin/env bash
# The proxy samples of deploy/ in front of stand-ins: sockets, streams, routing, and no token in any log.
# nginx: both samples. HAProxy: its one sample, where it is installed. Everything listens on loopback.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
for program in nginx python3; do
    if ! command -v "$program" >/dev/null; then
        echo "SKIPPED: proxy samples: no $program on the path (apt install $program)" >&2
        [ "${TIDEWIRE_TEST_REQUIRE_REAL:-0}" = 1 ] && exit 1
        exit 0
    fi
done

work=$(mktemp -d)
pids=()
# nginx as root would switch to a user of its own, which can't read this folder.
[ "$(id -u)" = 0 ] && user="user root;" || user=""

cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() {
    echo "FAILED: $*" >&2
    tail -n 20 "$work"/*.log >&2 || true
    exit 1
}

free_ports() {
    python3 - "$1" <<'PY'
import random, socket, sys
# Below the range that the system gives to outgoing connections.
held = []
while len(held) < int(sys.argv[1]):
    link = socket.socket()
    try:
        link.bind(("127.0.0.1", random.randrange(20000, 30000)))
        held.append(link)
    except OSError:
        pass
print(*(link.getsockname()[1] for link in held))
PY
}

wait_for() { # port
    for _ in $(seq 200); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return 0; fi
        sleep 0.05
    done
    fail "nothing listens on port $1"
}

upstream() { # name port
    (cd "$work" && exec python3 "$root/tests/deploy/upstream.py" "$1" "$2") &
    pids+=($!)
}

judge() { # sample port
    (cd "$work" && python3 "$root/tests/deploy/through_proxy.py" "$1" "$2") || fail "$1"
}

read -r a b capture vms front <<<"$(free_ports 5)"
upstream a "$a"; gateway_a=$!
upstream b "$b"; gateway_b=$!
upstream capture "$capture"
upstream vms "$vms"
for port in "$a" "$b" "$capture" "$vms"; do wait_for "$port"; done

run_nginx() { # sample
    local folder=$work/$1
    mkdir -p "$folder"
    for file in "$1.conf" maps.inc socket.inc; do
        sed -e "s|/etc/nginx/tidewire/|$folder/|; s|/var/log/nginx/|$folder/|" \
            -e "s|gateway-1:8080|127.0.0.1:$a|; s|gateway-2:8080|127.0.0.1:$b|" \
            -e "s|capture:8082|127.0.0.1:$capture|; s|vms.internal:8443|127.0.0.1:$vms|" \
            -e "s|listen 80;|listen 127.0.0.1:$front;|" \
            "$root/deploy/nginx/$file" >"$folder/$file"
    done
    cat >"$folder/nginx.conf" <<CONF
$user
daemon off;
worker_processes 2;
pid $folder/nginx.pid;
error_log $folder/error.log;
events { worker_connections 256; }
http {
    access_log $folder/access.log;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    include $folder/$1.conf;
}
CONF
    nginx -q -t -c "$folder/nginx.conf" -e "$folder/error.log" || fail "$1: nginx -t"
    nginx -c "$folder/nginx.conf" -e "$folder/error.log" 2>"$work/nginx.log" &
    proxy=$!
    pids+=("$proxy")
    wait_for "$front"
}

stop_proxy() {
    kill "$proxy"
    wait "$proxy" 2>/dev/null || true
}

no_token() { # sample file...
    local sample=$1
    shift
    if grep -l -e s3cr3t -e session= "$@"; then fail "$sample: a token or a query in a log"; fi
    [ "$(cat "$@" | grep -c '"path":"/ws/rest/WebSocketObjectSubscription/')" -ge 8 ] ||
        fail "$sample: requests are missing in the access log"
}

for sample in two-gateways one-host-name; do
    run_nginx "$sample"
    judge "$sample" "$front"
    stop_proxy
    logs=("$work/$sample/error.log" "$work/$sample/tidewire.log")
    [ -e "$work/$sample/access.log" ] && logs+=("$work/$sample/access.log")
    no_token "$sample" "${logs[@]}"
    grep -q '"path":"/ws/rest/WebSocketObjectSubscription/PortCall/C,U/\*/\[token\]","status":101' \
        "$work/$sample/tidewire.log" || fail "$sample: the access log lacks the path of a handshake"
    echo "ok: nginx $sample"
done

if command -v haproxy >/dev/null; then
    sed -e "s|gateway-1:8080|127.0.0.1:$a|; s|gateway-2:8080|127.0.0.1:$b|; s|capture:8082|127.0.0.1:$capture|" \
        -e "s|maxconn 40000|maxconn 256|; s|check port 8081|check|; s|check port 8083|check|; s|bind :8080|bind 127.0.0.1:$front|" \
        "$root/deploy/haproxy/haproxy.cfg" >"$work/haproxy.cfg"
    haproxy -q -c -f "$work/haproxy.cfg" || fail "haproxy -c"
    haproxy -db -f "$work/haproxy.cfg" >"$work/haproxy.log" 2>&1 &
    proxy=$!
    pids+=("$proxy")
    wait_for "$front"
    judge two-gateways "$front"
    stop_proxy
    no_token haproxy "$work/haproxy.log"
    echo "ok: haproxy"
else
    echo "SKIPPED: the HAProxy sample: no haproxy on the path (apt install haproxy)" >&2
fi

# Both gateways gone: the client gets a 502 and the logs still hold no token.
sample=one-host-name
run_nginx "$sample"
kill "$gateway_a" "$gateway_b"
wait "$gateway_a" "$gateway_b" 2>/dev/null || true
python3 - "$front" <<'PY' || fail "no 502 without gateways"
import socket, sys
link = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20)
link.sendall(b"GET /ws/rest/WebSocketObjectSubscription/PortCall/U/17/s3cr3t.a.b HTTP/1.1\r\n"
             b"Host: vms.example.com\r\nConnection: close\r\n\r\n")
assert b" 502 " in link.makefile("rb").readline()
PY
stop_proxy
if grep -l s3cr3t "$work/$sample"/*.log; then fail "a token in a log when no gateway answers"; fi
echo "ok: no gateway, no token in the log"
