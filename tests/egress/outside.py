"""The world outside, in a network namespace of its own: name servers, web servers and databases on 198.51.100.0/24,
a range for documentation: a machine may use another of them for a network of its own.

Run as a program inside that namespace it serves (see `SERVICES`); `Outside` makes the namespace and starts it.
"""

import contextlib
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar

import dns.message
import dns.rcode
import dns.rrset

NETWORK = "198.51.100.0/24"
GATEWAY = "198.51.100.1"  # this machine's end
NAME_SERVER = "198.51.100.53"
API, OTHER, DATABASE, PRIVATE = "198.51.100.10", "198.51.100.11", "198.51.100.12", "10.213.0.9"
DEAF = "198.51.100.99"  # nobody has that address
SERVICES = {
    "web": [(API, 80), (OTHER, 80), (API, 8080), (PRIVATE, 80)],
    "echo": [(DATABASE, 5432), (OTHER, 5432)],
}
NAMES = {
    "api.example.com": [API],
    "other.example.net": [OTHER],
    "db.example.com": [DATABASE],
    "a.wild.example.org": [API],
    "b.wild.example.org": [OTHER],
    "inside.example.com": [PRIVATE],
    "metadata.example.com": ["169.254.169.254"],
    "loop.example.com": ["127.0.0.1"],
    "gateway.example.com": [GATEWAY],
    "deaf.example.com": [DEAF],
    "two.example.com": [DEAF.replace("99", "98"), API],
}


class Outside:
    """`with Outside() as outside`: there from enter to exit. Needs root, `ip` and veth."""

    name = "isotherm-outside"

    def __enter__(self) -> "Outside":
        self._remove()
        self._ip("netns", "add", self.name)
        self._ip("link", "add", "iso-out", "type", "veth", "peer", "name", "iso-in", "netns", self.name)
        for address in (f"{GATEWAY}/24", "10.213.0.1/24"):
            self._ip("address", "add", address, "dev", "iso-out")
        self._ip("link", "set", "iso-out", "up")
        inside = ("-n", self.name)
        for address in sorted({NAME_SERVER, *(each for group in SERVICES.values() for each, _ in group)}):
            self._ip(*inside, "address", "add", f"{address}/24", "dev", "iso-in")
        for device in ("lo", "iso-in"):
            self._ip(*inside, "link", "set", device, "up")
        argv = ["ip", "netns", "exec", self.name, sys.executable, "-m", "tests.egress.outside"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(10)
        self._remove()

    def asked(self) -> list[str]:
        """The names that the name server was asked for so far."""
        with socket.create_connection((NAME_SERVER, 9953), 5) as client:
            return json.loads(client.makefile().read())

    def _remove(self) -> None:
        for argv in (("link", "delete", "iso-out"), ("netns", "delete", self.name)):
            subprocess.run(["ip", *argv], capture_output=True, check=False)

    @staticmethod
    def _ip(*argv: str) -> None:
        subprocess.run(["ip", *argv], check=True, capture_output=True)


class Web(BaseHTTPRequestHandler):
    """Says which address it was reached at and which host was asked for; /big sends as many bytes as asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/big/"):
            body = b"x" * int(self.path.rpartition("/")[2])
        else:
            host, port = self.connection.getsockname()[:2]
            facts = {"address": host, "port": port, "host": self.headers["host"], "path": self.path}
            body = json.dumps(facts).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        size = int(self.headers["content-length"])
        while size:
            size -= len(self.rfile.read(min(size, 1 << 16)))
        self.path = "/posted"
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        return


class Echo(socketserver.BaseRequestHandler):
    """Greets first, as databases and mail servers do; then sends back what comes until the client has said all."""

    def handle(self) -> None:
        self.request.sendall(f"hello from {self.request.getsockname()[0]}\n".encode())
        with contextlib.suppress(OSError):
            while piece := self.request.recv(65536):
                self.request.sendall(piece)
            self.request.sendall(b"bye\n")


class Names(socketserver.BaseRequestHandler):
    asked: ClassVar[list[str]] = []
    answers: ClassVar[dict[str, int]] = {}

    def handle(self) -> None:
        query, back = self.request
        message = dns.message.from_wire(query)
        name = message.question[0].name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        answer = dns.message.make_response(message)
        addresses = self.addresses(name)
        if addresses is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif message.question[0].rdtype == 1:
            answer.answer.append(dns.rrset.from_text_list(message.question[0].name, 1, "IN", "A", addresses))
        back.sendto(answer.to_wire(), self.client_address)

    def addresses(self, name: str) -> list[str] | None:
        if name != "rebind.example.com":
            return NAMES.get(name)
        self.answers[name] = self.answers.get(name, 0) + 1
        return [API] if self.answers[name] == 1 else ["127.0.0.1"]


class Asked(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(json.dumps(Names.asked).encode())


class Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512


class Webs(ThreadingHTTPServer):
    request_queue_size = 512


def main() -> None:
    servers: list[socketserver.BaseServer] = [
        socketserver.ThreadingUDPServer((NAME_SERVER, 53), Names),
        Threads((NAME_SERVER, 9953), Asked),
        *(Webs(address, Web) for address in SERVICES["web"]),
        *(Threads(address, Echo) for address in SERVICES["echo"]),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
