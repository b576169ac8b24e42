"""Small signed logs with known salts and keys, made by the parts of the server and the contract, for tests of the verifier."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from chaukas.server.storage.entry import encode_entry, entry_head, origin_of
from chaukas.server.tlog.keys import SigningKey
from chaukas.server.tlog.proving import prove_consistency, prove_inclusion, root_of_size
from chaukas.server.tlog.signing import cosign, sign_checkpoint
from chaukas.server.tlog.tiling import TileEdge
from chaukas.spec.common.v1.events_pb2 import Event
from chaukas.verify.checkpoints import Checkpoint, read_checkpoint
from chaukas.verify.evidence import Evidence
from chaukas.verify.exports import ExportedEntry
from chaukas.verify.key_changes import KeyChange
from chaukas.verify.merkle import leaf_hash
from chaukas.verify.payloads import Salts
from chaukas.verify.trust import Trust
from chaukas.verify.verifier_keys import VerifierKey

START_NS = 1_795_000_000_000_000_000
WITNESS_NAME = "witness.example/w1"


def seeded(text: str, length: int = 32) -> bytes:
    """Bytes that look random and are always the same."""
    return sha256(text.encode()).digest()[:length]


@dataclass
class SampleLog:
    """A log that grows by `add_*`; proofs and checkpoints for every size. `salt_seed` makes another log of the same events."""

    server_name: str = "chaukas.example"
    tenant_id: str = "acme"
    project_id: str = "help desk"
    salt_seed: str = "salt"
    key: SigningKey = field(default_factory=lambda: SigningKey.from_seed(seeded("log key")))
    witness: SigningKey = field(default_factory=lambda: SigningKey.from_seed(seeded("witness key")))
    entries: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    salts: list[Salts] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)
    edge: TileEdge = field(default_factory=TileEdge)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return origin_of(self.server_name, self.tenant_id, self.project_id)

    @property
    def log_key(self) -> VerifierKey:
        return self.key.log_key(self.origin)

    @property
    def witness_key(self) -> VerifierKey:
        return self.witness.witness_key(WITNESS_NAME)

    @property
    def trust(self) -> Trust:
        return Trust((self.log_key,), (self.witness_key,))

    def add_event(self, number: int, session_id: str = "", **changes: object) -> None:
        event = Event(
            event_id=f"event-{number}", tenant_id=self.tenant_id, project_id=self.project_id, session_id=session_id,
            type=1 + number % 5, tags=["a", "b"], trace_id="t" * 16,
        )  # fmt: skip
        event.timestamp.FromNanoseconds(START_NS + number)
        if number % 3:
            event.message.text = f"text {number} äöü 🤖"
        for name, value in changes.items():
            setattr(event, name, value)
        envelope = Event.FromString(event.SerializeToString(deterministic=True))
        for name in [descriptor.name for descriptor, _ in event.ListFields() if descriptor.number > 23]:
            envelope.ClearField(name)
        cut = envelope.ByteSize()
        self.add(event.SerializeToString(deterministic=True), cut, session_id, kind=1)

    def add(self, payload: bytes, cut: int, session_id: str = "", *, kind: int) -> None:
        at = len(self.entries)
        salts = Salts(
            seeded(f"{self.salt_seed} e{at}", 16),
            seeded(f"{self.salt_seed} c{at}", 16),
            seeded(f"{self.salt_seed} s{session_id}", 16) if session_id else None,
        )
        sequence = self.sequences.get(session_id, 0)
        self.sequences[session_id] = sequence + 1
        entry = encode_entry(
            entry_head(kind, START_NS + at // 3),
            sha256((salts.envelope or b"") + payload[:cut]).digest(),
            sha256((salts.content or b"") + payload[cut:]).digest(),
            sha256((salts.session or b"") + session_id.encode()).digest() if session_id else b"",
            sequence,
            at % 2 * 77,
        )
        self.append_raw(entry, payload, salts)

    def append_raw(self, entry: bytes, payload: bytes, salts: Salts) -> None:
        self.entries.append(entry)
        self.payloads.append(payload)
        self.salts.append(salts)
        for path, tile in (*self.edge.extend([leaf_hash(entry)]), *self.edge.partial_tiles()):
            self.tiles[path.level or 0, path.number] = tile

    def add_key_change(self, new: SigningKey) -> None:
        self.add(bytes(KeyChange(self.log_key, new.log_key(self.origin))), 0, kind=3)

    def read_tile(self, level: int, number: int, width: int) -> bytes:
        return self.tiles[level, number][: width * 32]

    def checkpoint(self, size: int | None = None, *, cosigned: bool = True, keys: list[SigningKey] | None = None) -> Checkpoint:
        size = len(self.entries) if size is None else size
        signed = sign_checkpoint(self.origin, size, root_of_size(size, self.read_tile), keys or [self.key])
        if not cosigned:
            return signed
        line = cosign(signed, WITNESS_NAME, self.witness, START_NS // 10**9 + size)
        return read_checkpoint(signed.note.with_signatures([line]))

    def evidence(self, index: int, size: int | None = None) -> Evidence:
        checkpoint = self.checkpoint(size)
        proof = tuple(prove_inclusion(index, checkpoint.size, self.read_tile))
        return Evidence(self.origin, index, self.entries[index], self.payloads[index], self.salts[index], proof, checkpoint)

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        return tuple(prove_consistency(old, new, self.read_tile))

    def exported(self, index: int, size: int | None = None) -> ExportedEntry:
        proof = None if size is None else tuple(prove_inclusion(index, size, self.read_tile))
        return ExportedEntry(index, self.entries[index], self.salts[index], self.payloads[index], proof)


def sample_log(events: int, **changes: object) -> SampleLog:
    """A log of this many events, every third of them without a session, in three sessions."""
    log = SampleLog(**changes)  # type: ignore[arg-type]
    for number in range(events):
        log.add_event(number, f"session {number % 7 % 3}" if number % 3 else "")
    return log
