"""The supervisor with real processes: privileges, restarts, hand-over of sockets, and an end that leaves nothing."""

import fcntl
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from isotherm.warden.supervisor import MAX_DELAY_S, restart_delay_s

Make = Callable[..., "object"]


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_says_where_it_listens_and_passes_on_the_key_of_control(console: Make) -> None:
    up = console()
    listening = up.expect("listening")
    assert listening["url"].startswith("http://127.0.0.1:")
    assert listening["url"] != listening["content_url"]
    assert up.expect("ready")["admin_key"] == "iso_x"


def test_boot_messages_carry_paths_and_descriptors(console: Make, data_dir: Path) -> None:
    up = console(host_boot={"settings": {"region": "here"}})
    listening = up.expect("listening")
    facts = up.facts(listening["url"])
    boot = facts["boot"]
    assert boot["settings"] == {"region": "here"}
    assert boot["data_dir"] == str(data_dir)
    assert boot["link_path"] == f"{data_dir}/run/link.sock"
    assert boot["url"] == listening["url"]
    assert len(boot["api_fds"]) == len(boot["content_fds"]) == 1
    assert up.control_facts()["boot"]["content_url"] == listening["content_url"]


def test_children_inherit_nothing_but_what_they_are_given(console: Make) -> None:
    up = console(environment={"AWS_SECRET_ACCESS_KEY": "x", "ISOTHERM_MASTER_KEY": "bWFzdGVy"})
    url = up.expect("listening")["url"]
    up.wait_until(lambda: len(up.facts(url)["peers"]) == 1, "the introduction")
    facts = up.facts(url)
    assert "AWS_SECRET_ACCESS_KEY" not in facts["environment"]
    assert "ISOTHERM_MASTER_KEY" in facts["environment"]
    warden = int(facts["peers"][0].removeprefix("warden "))
    assert b"ISOTHERM_MASTER_KEY" not in Path(f"/proc/{warden}/environ").read_bytes()
    # api, content, channel, peer, and our own connection. No pipe of the console, no lock.
    assert facts["descriptors"].count("socket") == 5
    assert not [name for name in facts["descriptors"] if name.endswith("/lock")]


@pytest.mark.root
def test_host_and_control_lose_their_privileges(console: Make) -> None:
    up = console()
    listening = up.expect("listening")
    for facts in (up.facts(listening["url"]), up.control_facts()):
        assert facts["uid"] == listening["uid"] != 0
        assert facts["no_new_privs"] == "1"
        assert int(facts["capabilities"], 16) == 0


@pytest.mark.root
def test_the_service_user_cannot_replace_what_root_made(console: Make, data_dir: Path) -> None:
    up = console()
    up.expect("ready")
    status = data_dir.stat()
    assert status.st_uid == 0
    assert stat.S_IMODE(status.st_mode) == 0o1770
    for name in ("run", "warden", "lock"):
        assert (data_dir / name).stat().st_uid == 0
    assert (data_dir / "keys").stat().st_uid == status.st_gid


@pytest.mark.parametrize("victim", ["host", "control", "warden", "egress"])
def test_a_killed_process_is_back_at_once_and_a_waiting_client_is_served(console: Make, victim: str) -> None:
    up = console()
    url = up.expect("listening")["url"]
    up.expect("ready")
    pids = {"host": up.facts(url)["pid"], "control": up.control_facts()["pid"]}
    up.wait_until(lambda: len(up.facts(url)["peers"]) == 1, "the introduction of warden and host")
    pids["warden"] = int(up.facts(url)["peers"][0].removeprefix("warden "))
    pids["egress"] = next(pid for pid in up.children() if pid not in pids.values())
    os.kill(pids[victim], signal.SIGKILL)
    died = up.expect("died", process=victim)
    assert died["exit_code"] == -signal.SIGKILL
    assert died["restart_in_s"] == 0
    facts = up.control_facts() if victim == "control" else up.facts(url)
    assert (facts["pid"] == pids[victim]) is False
    up.wait_until(lambda: len(up.children()) == 4, "four children")


def test_each_restart_of_warden_or_host_makes_a_fresh_pair(console: Make) -> None:
    up = console()
    url = up.expect("listening")["url"]

    def warden_pids() -> list[str]:
        return up.facts(url)["peers"]

    up.wait_until(lambda: len(warden_pids()) == 1, "the first introduction")
    first = warden_pids()[0]
    os.kill(int(first.removeprefix("warden ")), signal.SIGKILL)
    up.wait_until(lambda: len(warden_pids()) == 2, "the new warden's introduction")
    assert warden_pids()[1] != first
    host = up.facts(url)["pid"]
    os.kill(host, signal.SIGKILL)
    up.wait_until(lambda: up.facts(url)["pid"] != host and len(warden_pids()) == 1, "the new host's introduction")
    assert warden_pids() == [up.facts(url)["peers"][0]]


def test_what_a_dead_warden_leaves_is_killed(console: Make) -> None:
    up = console()
    up.expect("ready")
    up.wait_until(lambda: any(each.name() == "sleep" for each in descendants(up.process.pid)), "the warden's child")
    orphan = next(each for each in descendants(up.process.pid) if each.name() == "sleep")
    os.kill(orphan.ppid(), signal.SIGKILL)
    up.wait_until(lambda: not alive([orphan]), "the orphan's end")


def test_kills_faster_than_a_start_are_survived(console: Make) -> None:
    up = console()
    url = up.expect("listening")["url"]
    for _ in range(7):
        os.kill(up.facts(url)["pid"], signal.SIGKILL)
        up.expect("died", process="host")
    assert up.facts(url)["pid"] > 0


@pytest.mark.parametrize("word", [b"stop", None, "SIGTERM"])
def test_a_stop_drains_and_exits_0_with_nothing_left(console: Make, word: bytes | str | None) -> None:
    up = console()
    up.expect("ready")
    up.wait_until(lambda: len(descendants(up.process.pid)) == 5, "all processes")
    everybody = descendants(up.process.pid)
    if word is None:
        up.hang_up()
    elif isinstance(word, bytes):
        up.say(word)
    else:
        up.process.send_signal(signal.SIGTERM)
    up.expect("stopped")
    assert up.process.wait(10) == 0
    up.wait_until(lambda: not alive(everybody), "an empty process table")


def test_nothing_outlives_a_killed_supervisor(console: Make) -> None:
    up = console()
    up.expect("ready")
    up.wait_until(lambda: len(descendants(up.process.pid)) == 5, "all processes")
    mine = [psutil.Process(pid) for pid in up.children()]
    rest = [each for each in descendants(up.process.pid) if each.name() == "sleep"]
    up.process.kill()
    up.process.wait(5)
    up.wait_until(lambda: not alive(mine), "an empty process table")
    for each in alive(rest):  # the stand-in's own child; the real warden's have a death signal of their own
        each.kill()


def test_a_process_that_fails_at_its_start_ends_it_all_with_a_reason(console: Make) -> None:
    up = console(environment={"LANG": "fail"})
    failed = up.expect("failed")
    assert failed["code"] == "unavailable"
    assert "exit 3" in failed["message"]
    assert up.process.wait(10) == 1


def test_a_failure_that_no_retry_mends_ends_it_at_once(console: Make) -> None:
    up = console(environment={"LANG": "fail-78"})
    assert "exit 78" in up.expect("failed")["message"]
    assert len([line for line in up.lines if line["op"] == "died"]) == 1


def test_a_second_one_on_the_same_folder_is_refused_and_names_the_holder(console: Make, data_dir: Path) -> None:
    first = console()
    first.expect("ready")
    failed = console().expect("failed")
    assert failed["code"] == "conflict"
    assert f"pid {os.getpid()}" in failed["message"]
    first.say(b"stop")
    assert first.process.wait(10) == 0
    console().expect("ready")


def test_a_taken_port_is_a_conflict_that_names_the_flag(console: Make, tmp_path: Path) -> None:
    first = console()
    port = int(first.expect("listening")["url"].rsplit(":", 1)[1])
    failed = console(folder=tmp_path / "other", port=port).expect("failed")
    assert failed["code"] == "conflict"
    assert f"--port {port}" in failed["message"]


def test_a_lock_file_that_is_a_link_is_not_followed(console: Make, data_dir: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (data_dir / "lock").symlink_to(victim)
    assert console().expect("failed")["code"] == "invalid"
    assert victim.read_text() == "precious"


def test_the_lock_goes_with_the_supervisor(console: Make, data_dir: Path) -> None:
    up = console()
    up.expect("ready")
    up.process.kill()
    up.process.wait(5)
    with open(data_dir / "lock", "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_certificate_is_handed_over_in_memory(console: Make, tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(0o600)
    up = console(tls_cert=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem"))
    listening = up.expect("listening")
    assert listening["url"].startswith("https://")
    facts = up.facts(listening["url"].replace("https", "http"))
    assert facts["boot"]["settings"]["tls_key"].startswith("/proc/self/fd/")


def test_a_missing_certificate_is_named(console: Make, tmp_path: Path) -> None:
    failed = console(tls_cert=str(tmp_path / "none.pem"), tls_key=str(tmp_path / "none.pem")).expect("failed")
    assert "--tls-cert" in failed["message"]


def test_a_stop_does_not_wait_for_ever_for_a_process_that_hangs(console: Make) -> None:
    up = console(drain_timeout_s=0.1)
    host = up.facts(up.expect("listening")["url"])["pid"]
    os.kill(host, signal.SIGSTOP)
    up.say(b"stop")
    up.expect("stopped")
    assert up.process.wait(10) == 0


def test_kill_ends_a_drain(console: Make) -> None:
    up = console(drain_timeout_s=60)
    host = up.facts(up.expect("listening")["url"])["pid"]
    os.kill(host, signal.SIGSTOP)
    up.say(b"stop")
    with pytest.raises(subprocess.TimeoutExpired):
        up.process.wait(0.5)
    up.say(b"kill")
    assert up.process.wait(5) == 0


def test_restarts_are_free_at_first_and_bounded_later() -> None:
    assert restart_delay_s(0) == restart_delay_s(4) == 0
    delays = [restart_delay_s(failures) for failures in range(5, 20)]
    assert delays == sorted(delays)
    assert delays[-1] == MAX_DELAY_S
