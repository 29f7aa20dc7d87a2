"""The network of a revision with egress: what is caught, what is not, and that the warden comes home."""

import os
import socket

import pytest

from isotherm.warden import network
from isotherm.warden.network import NetworkError, RevisionNetwork
from isotherm_runtime import linux

pytestmark = pytest.mark.root


def inside(made: RevisionNetwork, action: object) -> bytes:
    """What `action()` returns in a child in the network."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            linux.setns(made.namespace_fd, linux.NEWNET)
            os.write(writer, action())  # type: ignore[operator]  # a test's own
        except BaseException as exc:  # noqa: BLE001  (all is said to the parent)
            os.write(writer, type(exc).__name__.encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as stream:
        return stream.read()


def connect(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), 3) as client:
        return client.getpeername()[0].encode()


@pytest.fixture
def made() -> RevisionNetwork:
    return RevisionNetwork()


@pytest.mark.parametrize(
    ("host", "port"), [("192.0.2.1", 1), ("10.0.0.1", 65535), ("198.18.7.7", 53), ("2001:db8::1", 443)]
)
def test_a_connection_to_anywhere_arrives_with_its_address(made: RevisionNetwork, host: str, port: int) -> None:
    assert inside(made, lambda: connect(host, port)) == host.encode()
    caught, _ = made.sockets[0].accept()
    with caught:
        assert caught.getsockname()[0].removeprefix("::ffff:") == host
        assert caught.getsockname()[1] == port
    made.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_loopback_is_left_alone(made: RevisionNetwork, host: str) -> None:
    assert inside(made, lambda: connect(host, 80)) == b"ConnectionRefusedError"
    with pytest.raises(BlockingIOError):
        made.sockets[0].accept()
    made.close()


def test_a_datagram_reaches_the_name_server_and_nothing_else(made: RevisionNetwork) -> None:
    def send(host: str, port: int) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((host, port))
            client.send(b"x")
            client.send(b"x")
        return b"sent"

    assert inside(made, lambda: send("127.0.0.1", 53)) == b"sent"
    assert made.sockets[1].recv(10) == b"x"
    assert inside(made, lambda: send("192.0.2.1", 443)) == b"ConnectionRefusedError"
    assert inside(made, lambda: send("192.0.2.1", 53)) == b"ConnectionRefusedError"
    made.close()


def test_a_closed_network_keeps_no_descriptor(made: RevisionNetwork) -> None:
    made.close()
    before = len(os.listdir("/proc/self/fd"))
    RevisionNetwork().close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_warden_comes_home_whatever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_namespace_fd: int, _listener_fd: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    home, before = os.stat("/proc/self/ns/net").st_ino, len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(network, "attach_listener", refused)
    with pytest.raises(NetworkError, match=r"egress cannot be had on this host .*not permitted"):
        RevisionNetwork()
    assert os.stat("/proc/self/ns/net").st_ino == home
    assert len(os.listdir("/proc/self/fd")) == before
