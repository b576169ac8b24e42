"""The private keys of a server: of its logs (one key, under the name of each origin) and of its witness.

A key file is an unencrypted PKCS #8 PEM of an Ed25519 key, which `openssl pkey` reads too. It belongs to the user of the server
and nobody else may read it (mode 0600); a file with wider permissions is refused, not repaired: it may have been read already.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from chaukas.server.errors import ConfigurationError
from chaukas.verify.verifier_keys import COSIGNATURE_ED25519, ED25519, VerifierKey

__all__ = ["SigningKey", "read_key_file", "write_key_file"]

_FILE_BYTES_MAX = 16 * 1024


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 private key. Its representation shows the public key only."""

    _private: Ed25519PrivateKey = field(repr=False, compare=False)
    public_key: bytes

    @classmethod
    def generate(cls) -> SigningKey:
        """A new random key."""
        return cls._of(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a seed of 32 bytes (RFC 8032 §5.1.5)."""
        return cls._of(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """Read the content of a key file. Raises `ValueError` if it is no unencrypted Ed25519 key."""
        try:
            private = load_pem_private_key(pem, password=None)
        except (TypeError, UnsupportedAlgorithm) as error:  # TypeError: the key is encrypted
            raise ValueError(str(error)) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError("the key is not an Ed25519 key")  # noqa: TRY004 - the file is wrong, not the caller
        return cls._of(private)

    @classmethod
    def _of(cls, private: Ed25519PrivateKey) -> SigningKey:
        return cls(private, private.public_key().public_bytes_raw())

    def to_pem(self) -> bytes:
        """The content of a key file. It is the secret itself."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes (RFC 8032)."""
        return self._private.sign(message)

    def log_key(self, origin: str) -> VerifierKey:
        """The verifier key of this key for one log: its name is the origin (type 0x01). `str()` of it is the vkey."""
        return VerifierKey(origin, ED25519, self.public_key)

    def witness_key(self, name: str) -> VerifierKey:
        """The verifier key of this key as a witness called `name` (type 0x04)."""
        return VerifierKey(name, COSIGNATURE_ED25519, self.public_key)


def read_key_file(path: Path) -> SigningKey:
    """Read a key file.

    1. It is opened once, and what is checked is the open file, so that it cannot be exchanged between check and use.
    2. It is a regular file of this user (or of root) that nobody else may read or write.
    3. It holds an unencrypted Ed25519 key.

    Raises `FileNotFoundError` if there is none, `ConfigurationError` for everything else.
    """
    # 1. Not blocking, so that a pipe in the place of the file cannot hold the server up.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}") from error
    try:
        # 2.
        _check_owner_only(path, os.fstat(descriptor))
        content = os.read(descriptor, _FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigurationError(f"the key file {path} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    # 3.
    try:
        return SigningKey.from_pem(content)
    except ValueError as error:
        raise ConfigurationError(f"the key file {path} holds no unencrypted Ed25519 key in PEM: {error}") from error


def _check_owner_only(path: Path, status: os.stat_result) -> None:
    """Raises `ConfigurationError` unless it is a regular file of this user, or of root, that nobody else may read or write."""
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the key file {path} is not a regular file")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise ConfigurationError(
            f"the key file {path} has mode {mode:04o}: others may read or write it. Take it back with `chmod 600`, "
            "and replace the key if somebody may have read it"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(f"the key file {path} belongs to another user (uid {status.st_uid})")


def write_key_file(path: Path, key: SigningKey) -> None:
    """Write a new key file with mode 0600; it is on disk when this returns. An existing file is never replaced.

    A crash leaves either no file or the whole one (perhaps with a `.new` file beside it, which the next call replaces). Raises
    `FileExistsError`, or `ConfigurationError` if it cannot be written.
    """
    draft = path.with_name(path.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(key.to_pem())
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # Unlike a rename, this fails if somebody else's key stands there already.
        draft.unlink()
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except FileExistsError:
        draft.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise ConfigurationError(f"the key file {path} cannot be written: {error.strerror}") from error
