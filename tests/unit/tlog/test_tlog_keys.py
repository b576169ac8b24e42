"""Key files: made once, readable by their owner alone, and refused otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from chaukas.server.errors import ConfigurationError
from chaukas.server.tlog.keys import SigningKey, read_key_file, write_key_file
from chaukas.verify.verifier_keys import VerifierKey
from tests.log_samples import seeded


def test_a_key_is_written_and_read_back(tmp_path: Path):
    """A key file holds the key that was written, with mode 0600 whatever the umask, and no draft stays behind."""
    key = SigningKey.generate()
    before = os.umask(0)
    try:
        write_key_file(tmp_path / "log.key", key)
    finally:
        os.umask(before)
    assert (tmp_path / "log.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["log.key"]
    again = read_key_file(tmp_path / "log.key")
    assert (again, again.sign(b"x")) == (key, key.sign(b"x"))


def test_a_key_is_never_overwritten(tmp_path: Path):
    """An existing key stays: losing it would end the log."""
    key = SigningKey.generate()
    write_key_file(tmp_path / "log.key", key)
    with pytest.raises(FileExistsError):
        write_key_file(tmp_path / "log.key", SigningKey.generate())
    assert read_key_file(tmp_path / "log.key") == key
    assert [path.name for path in tmp_path.iterdir()] == ["log.key"]


def test_a_draft_of_a_crash_does_not_stand_in_the_way(tmp_path: Path):
    """A crash in the middle of writing leaves no key; the next start writes one."""
    (tmp_path / "log.key.new").write_bytes(b"half a k")
    write_key_file(tmp_path / "log.key", SigningKey.generate())
    read_key_file(tmp_path / "log.key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610, 0o777])
def test_wider_permissions_are_refused(tmp_path: Path, mode: int):
    """A key that others could read or write is not used, and the message says what to do."""
    path = tmp_path / "log.key"
    write_key_file(path, SigningKey.generate())
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=rf"mode {mode:04o}.*chmod 600"):
        read_key_file(path)


def test_other_files_are_refused(tmp_path: Path):
    """A missing file is told apart from one that is no key: encrypted, of another kind, a directory, a pipe, nonsense."""
    elliptic = generate_private_key(SECP256R1())
    contents = {
        "nonsense": b"x",
        "long": b"x" * 100_000,
        "encrypted": elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")),
        "another kind": elliptic.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
        with pytest.raises(ConfigurationError, match="no unencrypted Ed25519 key"):
            read_key_file(tmp_path / name)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigurationError, match="not a regular file"):
            read_key_file(path)
    with pytest.raises(FileNotFoundError):
        read_key_file(tmp_path / "missing")
    with pytest.raises(ConfigurationError):
        read_key_file(tmp_path / "nonsense" / "below a file")
    with pytest.raises(ConfigurationError):
        write_key_file(tmp_path / "missing" / "log.key", SigningKey.generate())


def test_one_key_has_a_verifier_key_for_each_log():
    """The verifier key of a log carries the log's name, so a checkpoint of another log cannot pass for it."""
    key = SigningKey.from_seed(seeded("key"))
    first, second = key.log_key("s/events/a"), key.log_key("s/events/b")
    assert first.public_key == second.public_key == key.public_key
    assert first.key_id != second.key_id
    assert VerifierKey.parse(str(first)) == first
    assert key.witness_key("s/events/a").key_id != first.key_id


def test_the_secret_is_not_shown():
    """A key in a log message or a traceback shows its public half only."""
    key = SigningKey.from_seed(seeded("key"))
    assert seeded("key").hex() not in repr(key)
    assert "Private" not in repr(key)
