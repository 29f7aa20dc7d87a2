"""Encryption at rest and the master key."""

import base64
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid, Unavailable
from isotherm.storage.vault import Vault, create_master_key, master_key_path, read_master_key

key = bytes(range(32))


@given(st.binary(max_size=2000), st.text(max_size=40), st.text(max_size=40))
def test_what_is_sealed_opens_to_itself(plain: bytes, purpose: str, context: str) -> None:
    vault = Vault(key)
    sealed = vault.seal(purpose, plain, context)
    assert Vault(key).open(purpose, sealed, context) == plain
    assert len(plain) < 8 or plain not in sealed


def test_the_same_content_is_sealed_differently_each_time() -> None:
    vault = Vault(key)
    assert vault.seal("env", b"secret") != vault.seal("env", b"secret")


@pytest.mark.parametrize(
    ("vault", "purpose", "context"),
    [(Vault(bytes(32)), "env", "row 1"), (Vault(key), "key", "row 1"), (Vault(key), "env", "row 2")],
    ids=["another master key", "another purpose", "another row"],
)
def test_it_opens_only_with_the_same_key_purpose_and_row(vault: Vault, purpose: str, context: str) -> None:
    sealed = Vault(key).seal("env", b"secret", "row 1")
    with pytest.raises(Unavailable, match="master key"):
        vault.open(purpose, sealed, context)


def test_changed_or_cut_bytes_do_not_open() -> None:
    sealed = Vault(key).seal("env", b"secret")
    for damaged in (sealed[:-1], bytes([sealed[0] ^ 1]) + sealed[1:], b"", sealed[:12]):
        with pytest.raises(Unavailable):
            Vault(key).open("env", damaged)


def test_fingerprints_are_equal_for_equal_content_and_keyed() -> None:
    assert Vault(key).fingerprint("config", b"a") == Vault(key).fingerprint("config", b"a")
    assert Vault(key).fingerprint("config", b"a") != Vault(bytes(32)).fingerprint("config", b"a")
    assert Vault(key).fingerprint("config", b"a") != Vault(key).fingerprint("other", b"a")


def test_the_master_key_is_made_once_and_private(tmp_path: Path) -> None:
    assert read_master_key(tmp_path, {}) is None
    made = create_master_key(tmp_path, {})
    assert len(made) == 32
    assert create_master_key(tmp_path, {}) == made == read_master_key(tmp_path, {})
    assert master_key_path(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in master_key_path(tmp_path).parent.iterdir()] == ["master.key"]


def test_processes_that_race_for_the_first_key_agree(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(create_master_key(tmp_path, {}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    create_master_key(tmp_path, {})
    text = base64.b64encode(key).decode()
    assert read_master_key(tmp_path, {"ISOTHERM_MASTER_KEY": text}) == key
    assert create_master_key(tmp_path / "empty", {"ISOTHERM_MASTER_KEY": text}) == key
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize("text", ["not base64!", base64.b64encode(b"short").decode()])
def test_a_bad_key_in_the_environment_says_what_is_expected(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid, match="ISOTHERM_MASTER_KEY"):
        read_master_key(tmp_path, {"ISOTHERM_MASTER_KEY": text})


def test_a_damaged_key_file_is_refused(tmp_path: Path) -> None:
    create_master_key(tmp_path, {})
    master_key_path(tmp_path).write_bytes(b"cut")
    with pytest.raises(Invalid, match="backup"):
        create_master_key(tmp_path, {})
