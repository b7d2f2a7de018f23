"""A stand-in for a server behind a proxy: names itself, echoes what it was sent, upgrades and streams.

    upstream.py NAME PORT

Every answer is JSON with the server's name, the raw request target and the headers. An upgrade is answered 101
and one text frame of the same JSON, after which bytes are echoed. `Accept: text/event-stream` gets one event at
once, and the second only once the file `release` exists in the working folder. A request with `?status=503` in
its target is answered so by the server named `a` only.
"""

import base64
import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, PORT = sys.argv[1], int(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def seen(self):
        headers = {name.lower(): value for name, value in self.headers.items()}
        return json.dumps({"server": NAME, "target": self.path, "headers": headers}).encode()

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.answer(200)

    def do_GET(self):
        if self.headers.get("upgrade", "").lower() == "websocket":
            if "status=503" in self.path and NAME == "a":
                self.answer(503)
            else:
                self.upgrade()
        elif "text/event-stream" in self.headers.get("accept", ""):
            self.stream()
        elif self.path == "/health/ready":
            self.answer(200)
        else:
            self.answer(503 if "status=503" in self.path and NAME == "a" else 200)

    def answer(self, status):
        body = self.seen()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def upgrade(self):
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        body = self.seen()
        self.wfile.write(b"\x81\x7e" + len(body).to_bytes(2, "big") + body)
        self.close_connection = True
        while data := self.connection.recv(65536):
            self.connection.sendall(data)

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b"data: " + self.seen() + b"\n\n")
        while not os.path.exists("release"):
            time.sleep(0.02)
        self.wfile.write(b"data: second\n\n")


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # A proxy that has seen enough hangs up.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


Server(("127.0.0.1", PORT), Handler).serve_forever()
