"""A small stand-in for the supervised processes: keeps the supervisor's side of the bargain and says what it saw.

It answers every connection on its API sockets with one JSON line about itself, so that a test can look inside.
"""

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path


def about(boot: dict, peers: list[str]) -> bytes:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    facts = {
        "pid": os.getpid(),
        "uid": os.getuid(),
        "no_new_privs": status["NoNewPrivs"].strip(),
        "capabilities": status["CapEff"].strip(),
        "environment": sorted(os.environ),
        "descriptors": sorted(
            os.readlink(f"/proc/self/fd/{fd}").split(":")[0]
            for fd in os.listdir("/proc/self/fd")
            if Path(f"/proc/self/fd/{fd}").is_symlink()
        ),
        "peers": peers,
        "boot": boot,
    }
    return json.dumps(facts).encode() + b"\n"


def greet(peer: socket.socket, name: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # it was killed: there will be another
        peer.send(f"{name} {os.getpid()}".encode())


class StandIn:
    def __init__(self, boot: dict, listeners: list[socket.socket], channel: socket.socket | None) -> None:
        self.boot, self.channel, self.is_host = boot, channel, "api_fds" in boot
        self.is_warden = not self.is_host and "own_ports" not in boot
        self.peer: socket.socket | None = None
        self.peers: list[str] = []
        self.selector = selectors.DefaultSelector()
        for listener in listeners:
            self.selector.register(listener, selectors.EVENT_READ, self.on_client)
        if channel is not None:
            self.selector.register(channel, selectors.EVENT_READ, self.on_supervisor)

    def serve(self) -> None:
        while True:
            for key, _ in self.selector.select(10):
                key.data(key.fileobj)

    def on_client(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        client.setblocking(True)
        client.sendall(about(self.boot, self.peers))
        client.close()

    def on_supervisor(self, channel: socket.socket) -> None:
        message, fds, _, _ = socket.recv_fds(channel, 4096, 4)
        if not message or json.loads(message)["op"] == "stop":
            sys.exit(0)
        if json.loads(message)["op"] == "egress":
            self.egress = socket.socket(fileno=fds[0])
            greet(self.egress, "warden")
            return
        self.drop_peer()
        self.peer = socket.socket(fileno=fds[0])
        self.selector.register(self.peer, selectors.EVENT_READ, self.on_peer)
        if self.is_host:
            greet(self.peer, "host")

    def on_peer(self, peer: socket.socket) -> None:
        words = peer.recv(4096)
        if not words:
            self.drop_peer()
            return
        self.peers.append(words.decode())
        if self.is_warden:
            greet(peer, "warden")

    def drop_peer(self) -> None:
        if self.peer is not None:
            self.selector.unregister(self.peer)
            self.peer.close()
            self.peer = None


def main() -> None:
    boot = json.loads(os.fdopen(int(sys.argv[2]), "rb").read())
    if os.environ.get("LANG", "").startswith("fail"):
        sys.exit(int(os.environ["LANG"].partition("-")[2] or 3))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listeners: list[socket.socket] = []
    channel = None
    if "ready_fd" in boot:
        listeners = [socket.socket(fileno=boot["api_fd"])]
        os.write(boot["ready_fd"], b'{"admin_key": "iso_x", "access_key_id": "a", "secret_access_key": "s"}\n')
        os.close(boot["ready_fd"])
    else:
        channel = socket.socket(fileno=boot["supervisor_fd"])
    if "api_fds" in boot:
        listeners = [socket.socket(fileno=fd) for fd in (*boot["api_fds"], *boot["content_fds"])]
    elif channel is not None and "own_ports" not in boot:
        subprocess.Popen(["sleep", "1000"])  # what a dead warden would leave behind
    StandIn(boot, listeners, channel).serve()


main()
