"""Asks a proxy in front of upstream.py what clients ask, and judges the answers.

    through_proxy.py two-gateways|one-host-name PORT
"""

import json
import os
import socket
import sys

SAMPLE, PORT = sys.argv[1], int(sys.argv[2])
# As long as a token with many claims: longer than a proxy's default for a line.
TOKEN = "eyJ0b2tlbg." + "s3cr3t" * 1500 + ".sig"
SOCKET = "/ws/rest/WebSocketObjectSubscription/PortCall/C,U/*/"
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
# Long enough for a slow machine, short enough to fail in this life.
PATIENCE = 20


def connect(method, target, headers=None, body=b""):
    link = socket.create_connection(("127.0.0.1", PORT), PATIENCE)
    lines = [f"{method} {target} HTTP/1.1", "Host: vms.example.com"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    lines += [f"Content-Length: {len(body)}"] if body else []
    link.sendall("\r\n".join(lines + ["", ""]).encode() + body)
    return link, link.makefile("rb")


def head(stream):
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers


def plain(method, target, body=b""):
    link, stream = connect(method, target, {"Connection": "close"}, body)
    status, headers = head(stream)
    length = headers.get("content-length")
    text = stream.read(int(length)) if length else stream.read()
    link.close()
    return status, json.loads(text) if text.startswith(b"{") else {}


def upgraded(target):
    link, stream = connect("GET", target, UPGRADE)
    status, _ = head(stream)
    if status != 101:
        return link, status, {}
    stream.read(2)
    seen = json.loads(stream.read(int.from_bytes(stream.read(2), "big")))
    # Both directions stay open: whatever is sent comes back.
    link.sendall(b"\x81\x85\0\0\0\0hello")
    assert stream.read(11) == b"\x81\x85\0\0\0\0hello"
    return link, status, seen


def check(what, got, expected):
    assert got == expected, f"{what}: got {got!r}, expected {expected!r}"


def sockets_pass(gateways=("a", "b")):
    target = SOCKET + TOKEN + "?session=desk%2d1&fields=%7B%22port%22%3A%22*%22%7D"
    held = [upgraded(target) for _ in range(4)]
    check("handshakes", [status for _, status, _ in held], [101] * 4)
    check("the target arrives as it was sent", {seen["target"] for _, _, seen in held}, {target})
    check("both gateways serve, whoever asks", {seen["server"] for _, _, seen in held}, set(gateways))
    headers = held[0][2]["headers"]
    check("client address", headers["x-forwarded-for"], "127.0.0.1")
    check("host", headers["host"], "vms.example.com")
    for link, _, _ in held:
        link.close()
    for _ in range(3):
        link, status, seen = upgraded(SOCKET + "t.o.k?status=503")
        check("a gateway that drains is passed over", (status, seen["server"]), (101, "b"))
        link.close()
    link, stream = connect("GET", SOCKET + TOKEN, {"Accept": "text/event-stream"})
    check("stream", head(stream)[0], 200)
    line = b""
    while not line.startswith(b"data: "):
        line = stream.readline()
    # The first event is here although the second does not exist yet: nothing was buffered.
    open("release", "w").close()
    while line != b"data: second\n":
        line = stream.readline()
        assert line, "the stream ended before its second event"
    link.close()
    os.remove("release")


def goes_to(method, target, servers, body=b""):
    status, seen = plain(method, target, body)
    check(f"{method} {target}", (status, seen.get("server") in servers), (200, True))
    check("the target arrives as it was sent", seen["target"], target)


GATEWAYS = ("a", "b")
sockets_pass()
if SAMPLE == "two-gateways":
    goes_to("POST", "/api/v1/changes", ("capture",), b"x" * 2_000_000)
    goes_to("POST", "/api/v1/tickets", GATEWAYS, b"{}")
    goes_to("GET", "/api/v1/changes/x", GATEWAYS)
else:
    goes_to("GET", "/ws/rest/WebSocketAlertScript/ETA/" + TOKEN, GATEWAYS)
    for script in ("/ws/rest/DLPAlertScript", "/ws/rest/DLPAlertScript/17", "/ws/rest/DLPAlertScript?code=ETA"):
        goes_to("GET", script, GATEWAYS)
    for other in (
        "/",
        "/ws/rest/Voyage/17?x=%2F",
        "/ws/rest/DLPAlertScriptLog",
        "/ws/rest/WebSocketObject",
        "/oauth/token",
        "/api/v1/changes",
    ):
        goes_to("GET", other, ("vms",))
# Odd spellings of a token's place: whatever the answer is, the logs are looked at afterwards.
for odd in (
    "/ws/rest/%57ebSocketObjectSubscription/PortCall/*/*/s3cr3t.a.b",
    "//ws//rest/WebSocketObjectSubscription/PortCall/*/s3cr3t.a.b",
    "/ws/rest/WebSocketObjectSubscription/s3cr3t.a.b",
    "/ws/rest/WebSocketAlertScript/s3cr3t.a.b",
    "/ws/rest/x/../WebSocketObjectSubscription/PortCall/*/*/s3cr3t.a.b",
    "/ws/v1?token=s3cr3t",
):
    plain("GET", odd)
