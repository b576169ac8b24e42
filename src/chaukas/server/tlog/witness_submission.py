"""Having heads witnessed: each log that has grown is shown to every configured witness, and their cosignatures are kept.

Beside everything else: nothing waits for a witness, neither ingest nor signing. In each round, for each witness,

1. the logs are found whose newest signed head the witness has not cosigned,
2. the head is submitted with a consistency proof from the size that the witness knows (C2SP tlog-witness `add-checkpoint`),
3. where the witness knows another size (409), it is asked once more with a proof from there,
4. the cosignature is verified and added to the stored head.

What a witness knows is remembered in memory only: after a start the newest stored cosignature tells it, or the witness does. A
witness that says that the log is another one than it cosigned (422), or that it knows a longer one, has found what witnesses are
for: that is told as an error and counted, and the log is not submitted again before it has grown beyond what the witness knows,
after a 422 not before the next start. Who is not reached, or refuses for another reason, is asked again after a pause that
doubles.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chaukas.server.errors import ChaukasError, ConfigurationError
from chaukas.server.storage.log_contract import LogInfo, LogStore, SignedHead
from chaukas.server.tlog.proving import prove_consistency
from chaukas.server.tlog.tile_reading import with_tiles
from chaukas.server.tlog.witness_http import Answer, UnreachableError, check_url, post
from chaukas.server.tlog.witness_messages import Conflict, Refusal, build_add_checkpoint, read_answer
from chaukas.verify.checkpoints import Checkpoint, parse_checkpoint
from chaukas.verify.errors import VerificationError
from chaukas.verify.notes import SignatureLine
from chaukas.verify.signed_checkpoints import verify_witnesses
from chaukas.verify.verifier_keys import VerifierKey

__all__ = ["Outcome", "Witness", "WitnessSubmission", "parse_witness"]

#: Submissions to one witness at once.
_AT_ONCE = 4
_TIMEOUT_S = 10.0
_PAUSE_S_MAX = 3600.0
#: Failures to reach a witness within a round after which the round ends.
_UNREACHED_MAX = 3


class Outcome:
    """What became of a submission; the values are labels of a metric."""

    COSIGNED = "cosigned"
    CONTRADICTED = "contradicted"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: its verifier key, of type 0x04 or 0x06, and its submission prefix without a slash at the end."""

    key: VerifierKey
    url: str


def parse_witness(text: str) -> Witness:
    """Read a setting, `<verifier key> <URL>`. Raises `ConfigurationError`."""
    key_text, _, url = text.strip().partition(" ")
    try:
        key = VerifierKey.parse(key_text)
        if not key.is_witness:
            raise ConfigurationError(f"witnesses: {key.name} is the key of a log, not of a witness (type 0x04 or 0x06)")
        return Witness(key, check_url(url.strip()))
    except (VerificationError, ValueError) as error:
        raise ConfigurationError(f"witnesses: {text!r} is not a verifier key and a URL: {error}") from error


@dataclass(slots=True)
class _Place:
    """Where one log stands with one witness."""

    #: Size of the newest head that the witness cosigned; None before anybody knows.
    known: int | None = None
    #: Not again before the log is larger than this.
    beyond: int = 0
    contradicted: bool = False
    retry_at: float = 0.0
    pause_s: float = 0.0


@dataclass(slots=True)
class _Progress:
    """Where one witness stands."""

    witness: Witness
    places: dict[int, _Place] = field(default_factory=dict)
    retry_at: float = 0.0
    pause_s: float = 0.0
    unreached: int = 0


class WitnessSubmission:
    """Submits the heads of a server's logs; its methods belong to one event loop.

    `on_outcome` hears the witness's name and an `Outcome` for each submission, `on_behind` the name and how many logs it has not
    cosigned up to their newest head, after each round. `on_contradiction` and `on_trouble` get a sentence.
    """

    def __init__(
        self,
        store: LogStore,
        witnesses: Sequence[Witness],
        *,
        interval_s: float,
        on_outcome: Callable[[str, str], None] = lambda _name, _outcome: None,
        on_behind: Callable[[str, int], None] = lambda _name, _logs: None,
        on_contradiction: Callable[[str], None] = lambda _problem: None,
        on_trouble: Callable[[str], None] = lambda _problem: None,
        send: Callable[[str, bytes, float], Answer] = post,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`send` POSTs a body within so many seconds; it may block, in a thread."""
        self._store = store
        self._progress = [_Progress(witness) for witness in witnesses]
        self._interval_s = interval_s
        self._on_outcome = on_outcome
        self._on_behind = on_behind
        self._on_contradiction = on_contradiction
        self._on_trouble = on_trouble
        self._send = send
        self._clock = clock
        # Threads of their own: a witness that does not answer must not take those that signing needs.
        self._threads: ThreadPoolExecutor | None = None
        self._adding = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Submit what has grown, once per interval from now on."""
        self._task = asyncio.create_task(self._submit_for_ever(), name="chaukas-witness-submission")

    async def stop(self) -> None:
        """End; what is on its way is not waited for. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    async def _submit_for_ever(self) -> None:
        while True:
            try:
                await self.submit_all()
            except (ChaukasError, VerificationError) as error:
                self._on_trouble(f"the logs cannot be read for the witnesses: {error}")
            await asyncio.sleep(self._interval_s)

    async def submit_all(self) -> None:
        """One round. Raises `StorageError` when the logs cannot be read."""
        logs = await self._store.logs(None, None)
        await asyncio.gather(*(self._submit_to(progress, logs) for progress in self._progress))

    async def _submit_to(self, progress: _Progress, logs: Sequence[LogInfo]) -> None:
        now = self._clock()
        progress.unreached = 0
        if now >= progress.retry_at:
            # 1.
            grown = iter([log for log in logs if self._is_due(progress.places.setdefault(log.log_id, _Place()), log, now)])

            async def submit_some() -> None:
                for log in grown:
                    await self._submit_log(progress, log)
                    if progress.unreached >= _UNREACHED_MAX:
                        return

            await asyncio.gather(*(submit_some() for _ in range(_AT_ONCE)))
            progress.pause_s = _longer(progress.pause_s, self._interval_s) if progress.unreached else 0.0
            progress.retry_at = now + progress.pause_s
        behind = sum((place.known or 0) < log.size for log in logs if (place := progress.places.get(log.log_id)) is not None)
        self._on_behind(progress.witness.key.name, behind)

    def _is_due(self, place: _Place, log: LogInfo, now: float) -> bool:
        return not place.contradicted and now >= place.retry_at and log.size > max(place.known or 0, place.beyond)

    async def _submit_log(self, progress: _Progress, log: LogInfo) -> None:
        """One log to one witness; whatever happens is told, and nothing is raised but what a cancelled task raises."""
        name, place = progress.witness.key.name, progress.places[log.log_id]
        try:
            head = await self._store.head(log.log_id)
            if head is None or head.size <= max(place.known or 0, place.beyond):
                return
            outcome = await self._submit_head(progress.witness, place, log, head)
        except UnreachableError as error:
            progress.unreached += 1
            outcome = Outcome.UNREACHABLE
            if progress.unreached == 1:
                self._on_trouble(f"the witness {name} was not reached at {progress.witness.url}: {error}")
        except (ChaukasError, VerificationError) as error:
            outcome = Outcome.REFUSED
            self._delay(place)
            self._on_trouble(f"the log {log.origin} was not cosigned by the witness {name}: {error}")
        else:
            if outcome is None:
                return
        self._on_outcome(name, outcome)

    async def _submit_head(self, witness: Witness, place: _Place, log: LogInfo, head: SignedHead) -> str | None:
        checkpoint = parse_checkpoint(head.note)
        if place.known is None:
            place.known = self._cosigned_size(witness, checkpoint)
            if place.known == head.size:
                return None
        # 2. and 3.
        for _ in range(2):
            answer = await self._ask(witness, log, place.known or 0, checkpoint)
            if not isinstance(answer, Conflict):
                break
            if answer.size > head.size:
                place.beyond = answer.size
                self._on_contradiction(
                    f"the witness {witness.key.name} knows the log {log.origin} with {answer.size} entries, but here it has"
                    f" {head.size}: data and state are an older copy"
                )
                return Outcome.CONTRADICTED
            place.known = answer.size
        else:
            raise VerificationError("the witness answers 409 to the size that it named itself")
        if isinstance(answer, Refusal):
            return self._refused(witness, place, log, head, answer)
        # 4.
        await self._keep(log, head.size, answer)
        place.known, place.retry_at, place.pause_s = head.size, 0.0, 0.0
        return Outcome.COSIGNED

    @staticmethod
    def _cosigned_size(witness: Witness, checkpoint: Checkpoint) -> int:
        """The size of the checkpoint if the witness's cosignature is on it already, as after a start; 0 otherwise."""
        try:
            cosigned, _ = verify_witnesses(checkpoint, (witness.key,))
        except VerificationError:
            return 0
        return checkpoint.size if cosigned else 0

    async def _ask(
        self, witness: Witness, log: LogInfo, known: int, checkpoint: Checkpoint
    ) -> tuple[SignatureLine, ...] | Conflict | Refusal:
        proof = await with_tiles(self._store, log.log_id, lambda read: prove_consistency(known, checkpoint.size, read))
        # A witness is shown the log's own signatures; those of others are not its business.
        own = tuple(line for line in checkpoint.note.signatures if line.name == checkpoint.origin)
        shown = parse_checkpoint(bytes(type(checkpoint.note)(checkpoint.note.text, own)))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_AT_ONCE * len(self._progress), thread_name_prefix="chaukas-submission")
        body = build_add_checkpoint(known, proof, shown)
        answer = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._send, f"{witness.url}/add-checkpoint", body, _TIMEOUT_S
        )
        if answer.status == 429 or answer.status >= 500:
            raise UnreachableError(f"it answers {answer.status}")
        return read_answer(answer.status, answer.content_type, answer.body, shown, (witness.key,))

    def _refused(self, witness: Witness, place: _Place, log: LogInfo, head: SignedHead, refusal: Refusal) -> str:
        what = f"{refusal.status} {refusal.reason[:300]!r}"
        if refusal.status == 422:
            place.contradicted = True
            self._on_contradiction(
                f"the witness {witness.key.name} refuses the log {log.origin} at {head.size} entries: it is not the one that it"
                f" cosigned with {place.known} entries ({what}). Either the log was rewritten here, or the witness is at"
                " fault: keep both sides' data and compare. It is not submitted again before the next start"
            )
            return Outcome.CONTRADICTED
        self._delay(place)
        self._on_trouble(f"the witness {witness.key.name} does not cosign the log {log.origin}: {what}")
        return Outcome.REFUSED

    def _delay(self, place: _Place) -> None:
        place.pause_s = _longer(place.pause_s, self._interval_s)
        place.retry_at = self._clock() + place.pause_s

    async def _keep(self, log: LogInfo, size: int, lines: Sequence[SignatureLine]) -> None:
        """Add cosignatures to a stored head: read, add, write, one at a time, because two witnesses may answer at once."""
        async with self._adding:
            head = await self._store.head(log.log_id, size)
            if head is not None:
                note = parse_checkpoint(head.note).note.with_signatures(lines)
                await self._store.cosign_head(log.log_id, size, bytes(note))


def _longer(pause_s: float, interval_s: float) -> float:
    return min(_PAUSE_S_MAX, max(2 * pause_s, interval_s))
