"""Starting, stopping, starting again from the same state, and what is refused."""

import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Platform, command_of, descendants, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root]
SLOW = "import time\n\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return 'done'\n"
Start = Callable[..., Platform]


def test_the_ready_file_says_all_and_is_private(platform: Platform) -> None:
    assert set(platform.ready) == {
        "url", "content_url", "admin_key", "access_key_id", "secret_access_key", "region", "pid",
    }  # fmt: skip
    assert platform.ready["pid"] == platform.process.pid
    assert platform.ready["admin_key"].startswith("iso_")
    mode = (platform.folder / "ready.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    for path in ("/healthz", "/readyz"):
        assert httpx.get(platform.ready["url"] + path).status_code == 200


def test_a_ready_file_of_a_former_run_is_gone_before_the_platform_serves(start: Start, data_dir: Path) -> None:
    stale = data_dir / "stale.json"
    stale.write_text("{}")
    up = start(environment={"ISOTHERM_READY_FILE": str(stale)})  # the flag wins
    assert stale.exists()
    up.stop()
    argv = [sys.executable, "-m", "isotherm", "up", "--data", str(data_dir / "data"), "--host", "127.0.0.1"]
    argv += ["--port", "0", "--content-port", "0", "--ready-file", str(stale)]
    with subprocess.Popen(argv, env=up.environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as again:
        try:
            wait_until(lambda: not stale.exists(), "the end of the stale file")
            wait_until(stale.exists, "the new ready file", 30)
            assert json.loads(stale.read_text())["pid"] == again.pid
        finally:
            again.send_signal(signal.SIGTERM)


def test_up_saves_a_profile_on_loopback(platform: Platform) -> None:
    environment = {name: value for name, value in platform.environment.items() if not name.startswith("ISOTHERM_")}
    argv = [sys.executable, "-m", "isotherm", "ls", "--json"]
    ran = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr


def test_unprivileged_processes_are_unprivileged(platform: Platform) -> None:
    for name in ("host", "control"):
        status = Path(f"/proc/{platform.pid(name)}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert "0" not in fields["Uid"].split()
        assert fields["NoNewPrivs"] == "1"
        assert int(fields["CapEff"], 16) == 0


def test_a_stop_lets_running_calls_end_and_the_next_start_serves_at_once(start: Start) -> None:
    first = start()
    first.function("slow", SLOW)
    answers: list[Any] = []
    call = threading.Thread(target=lambda: answers.append(first.invoke("slow", {"s": 5})))
    call.start()
    wait_until(lambda: first.temperatures("slow")["hot"], "the call under way")
    below = descendants(first.process.pid)
    assert first.stop() == 0
    call.join(30)
    assert answers
    assert answers[0].json() == "done"
    assert not [pid for pid in below if command_of(pid)]

    second = start()
    assert second.ready["admin_key"] == first.ready["admin_key"]
    assert second.invoke("slow", {}).json() == "done"


def test_nothing_outlives_a_killed_supervisor_and_the_next_start_cleans_up(start: Start) -> None:
    first = start()
    first.function("kept", SLOW)
    below = descendants(first.process.pid)
    supervisor = next(pid for pid in below if "isotherm.warden.supervisor" in command_of(pid))
    os.kill(supervisor, signal.SIGKILL)
    assert first.process.wait(20) == 69
    assert "the supervisor ended" in first.text_of_log()
    wait_until(lambda: not [pid for pid in below if command_of(pid)], "the end of all processes")
    assert start().invoke("kept", {}).json() == "done"


def test_a_killed_console_is_a_stop(start: Start) -> None:
    first = start()
    first.function("kept", SLOW)
    below = descendants(first.process.pid)
    first.process.kill()
    first.process.wait(5)
    wait_until(lambda: not [pid for pid in below if command_of(pid)], "the end of all processes", 30)


def test_a_start_waits_for_a_platform_whose_console_was_killed(start: Start) -> None:
    first = start()
    first.function("kept", SLOW)
    answers: list[Any] = []
    call = threading.Thread(target=lambda: answers.append(first.invoke("kept", {"s": 5})))
    call.start()
    wait_until(lambda: first.temperatures("kept")["hot"], "the call under way")
    first.process.kill()
    first.process.wait(5)
    second = start()  # while the first one drains
    call.join(30)
    assert answers[0].json() == "done"
    assert second.invoke("kept", {}).json() == "done"


def test_a_second_up_on_the_same_data_is_refused(platform: Platform) -> None:
    argv = [sys.executable, "-m", "isotherm", "up", "--data", str(platform.folder / "data"), "--port", "0"]
    argv += ["--content-port", "0"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=platform.environment)
    assert ran.returncode == 73
    assert f"pid {platform.process.pid}" in ran.stderr
    ran = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=30, env=platform.environment)
    assert json.loads(ran.stdout)["code"] == "conflict"
    assert platform.invoke("nothing").status_code == 404


def test_a_taken_port_is_refused(platform: Platform, data_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        argv = [sys.executable, "-m", "isotherm", "up", "--data", str(data_dir), "--port", port]
        ran = subprocess.run(
            [*argv, "--content-port", "0"], capture_output=True, text=True, timeout=30, env=platform.environment
        )
    assert ran.returncode == 73
    assert f"--port {port}" in ran.stderr


def test_listening_elsewhere_without_tls_is_warned_about(start: Start) -> None:
    up = start("--host", "0.0.0.0")
    assert "without TLS" in up.text_of_log()
    assert not (up.folder / "config" / "isotherm").exists()


def test_every_address_of_a_name_is_listened_on(start: Start) -> None:
    up = start("--host", "localhost")
    port = httpx.URL(up.ready["url"]).port
    addresses = {found[4][0] for found in socket.getaddrinfo("localhost", None)}
    for address in addresses:
        with socket.create_connection((address, port), timeout=5) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")


def test_tls_is_served(start: Start, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make_certificate(cert, key)
    up = start("--tls-cert", str(cert), "--tls-key", str(key))
    assert up.ready["url"].startswith("https://")
    trust = ssl.create_default_context(cafile=str(cert))
    answer = httpx.get(up.ready["url"] + "/api/v1/me", headers=up.headers, verify=trust, timeout=20)
    assert answer.status_code == 200
    refused = up.cli("ls")
    assert refused.code == 69
    assert "SSL_CERT_FILE" in refused.err
    up.environment["SSL_CERT_FILE"] = str(cert)
    assert up.cli("ls").code == 0


def make_certificate(cert: Path, key: Path) -> None:
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    key.chmod(0o600)


def test_the_demo_deploys_and_calls_every_example_and_tells_which_failed(start: Start, tmp_path: Path) -> None:
    for name, code in (("good", "def handler(event, context): return event"), ("bad", "import nosuchmodule")):
        folder = tmp_path / "examples" / name
        folder.mkdir(parents=True)
        (folder / "app.py").write_text(code + "\n")
        (folder / "isotherm.toml").write_text(f'name = "{name}"\n')
        (folder / "event.json").write_text('{"from": "the example"}')
    up = start("--demo", cwd=tmp_path)
    wait_until(lambda: "1 of the examples failed" in up.text_of_log(), "the end of the demo", 60)
    assert '-> {"from":"the example"}' in up.text_of_log()
    assert "No module named 'nosuchmodule'" in up.text_of_log()
    assert up.invoke("good", {"a": 1}).json() == {"a": 1}


def test_systemd_is_told_when_it_serves(start: Start, data_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(data_dir / "notify"))
        notify.settimeout(10)
        start(environment={"NOTIFY_SOCKET": str(data_dir / "notify")})
        assert notify.recv(100) == b"READY=1"


def test_sigint_drains_as_sigterm_does(start: Start) -> None:
    up = start()
    assert up.stop(signal.SIGINT) == 0
    assert "stopped" in up.text_of_log()


def test_doctor_works_beside_and_before(platform: Platform) -> None:
    ran = platform.cli("doctor", "--json", "--port", "0", "--content-port", "0", "--data", str(platform.folder / "new"))
    assert {check["name"] for check in ran.json["machine"]} >= {"python", "pip", "data", "port"}
    assert ran.json["isolation"]
    assert (ran.code == 0) is ran.json["ok"]
    assert not (platform.folder / "new").exists()


def test_without_root_deploys_are_refused_unless_the_operator_allows_it(data_dir: Path) -> None:
    """`up` as an ordinary user, whom the launcher lets read the interpreter as it does for the host."""
    from isotherm.warden.launch import Identity, Launch, interpreter_paths
    from isotherm.warden.launch import start as launch

    user = Identity(61399, 61399)
    (data_dir / "app.py").write_text("def handler(event, context): return 'unisolated'\n")
    (data_dir / "isotherm.toml").write_text('name = "mine"\n')
    os.chown(data_dir, user.uid, user.gid)
    for flags, code in (((), 69), (("--allow-unisolated",), 0)):
        ready = data_dir / "ready.json"
        argv = (sys.executable, "-P", "-m", "isotherm", "up", "--data", str(data_dir / "data"), "--port", "0")
        argv += ("--content-port", "0", "--ready-file", str(ready), *flags)
        environment = {"HOME": str(data_dir), "PATH": os.environ["PATH"]}
        pid = launch(
            Launch(
                argv=argv,
                env=environment,
                fds=(),
                identity=user,
                readable=interpreter_paths(),
                writable=(str(data_dir),),
            )
        )
        try:
            wait_until(ready.exists, "the ready file", 30)
            told = json.loads(ready.read_text())
            client = os.environ | {"ISOTHERM_URL": told["url"], "ISOTHERM_KEY": told["admin_key"]}
            argv = (sys.executable, "-m", "isotherm", "deploy", str(data_dir), "--json")
            ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=client)
            assert ran.returncode == code, ran.stdout + ran.stderr
            if code:
                assert json.loads(ran.stdout)["code"] == "not_isolated"
            else:
                argv = (sys.executable, "-m", "isotherm", "invoke", "mine")
                called = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=client)
                assert called.stdout == '"unisolated"\n', called.stderr
        finally:
            ready.unlink(missing_ok=True)
            os.kill(pid, signal.SIGTERM)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
