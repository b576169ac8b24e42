from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from chaukas.server.app import ServerApp
from chaukas.server.config import Settings
from chaukas.server.errors import CannotServeError, ConfigurationError
from chaukas.server.testing.memory_store import MemoryStore
from chaukas.server.testing.records import make_event
from chaukas.spec.server.v1 import server_pb2
from tests.acceptance.serving import PROTOBUF, batch_body, serving, single_body

_SERVE = """
import sys
from pathlib import Path
from chaukas.server.app import run
from chaukas.server.config import Settings
directory = Path(sys.argv[1])
sys.exit(run(Settings(
    data_dir=directory / "data", state_dir=directory / "state", grpc_address="127.0.0.1:0", http_address="127.0.0.1:0",
    log_format="json", drain_s=float(sys.argv[2]),
)))
"""


def memory_app(directory: Path, **overrides: object) -> ServerApp:
    values: dict[str, object] = {
        "state_dir": directory / "state",
        "grpc_address": "127.0.0.1:0",
        "http_address": "127.0.0.1:0",
        "log_level": "error",
    }
    return ServerApp(Settings(**{**values, **overrides}), store_factory=lambda *_: MemoryStore())


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["grpc_address", "http_address"])
async def test_a_taken_port_is_named_and_everything_is_stopped(tmp_path: Path, taken_port: int, name: str) -> None:
    """A server that cannot listen says which setting is wrong, and leaves no half of itself behind."""
    store = MemoryStore()
    settings = {"state_dir": tmp_path, "grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "log_level": "error"}
    app = ServerApp(Settings(**{**settings, name: f"127.0.0.1:{taken_port}"}), store_factory=lambda *_: store)
    with pytest.raises(ConfigurationError, match=f"{name}: cannot listen on 127.0.0.1:{taken_port}"):
        await app.start()
    assert not store._serving
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("chaukas-")] == []


@pytest.mark.anyio
async def test_two_servers_never_share_a_port(tmp_path: Path) -> None:
    """The second server on an address fails, instead of quietly getting half of the calls."""
    async with serving(tmp_path) as served:
        for name, port in (("grpc_address", served.grpc_target.rsplit(":", 1)[1]), ("http_address", served.http_port)):
            with pytest.raises(ConfigurationError, match=name):
                await memory_app(tmp_path / "other", **{name: f"127.0.0.1:{port}"}).start()


@pytest.mark.anyio
async def test_a_second_server_on_the_data_is_refused(tmp_path: Path) -> None:
    """The embedded store has one server; another one does not even listen."""
    settings = Settings(
        data_dir=tmp_path / "data",
        state_dir=tmp_path / "state",
        grpc_address="127.0.0.1:0",
        http_address="127.0.0.1:0",
        log_level="error",
    )
    first = ServerApp(settings)
    await first.start()
    try:
        with pytest.raises(CannotServeError):
            await ServerApp(settings).start()
    finally:
        await first.stop()


@pytest.mark.anyio
async def test_the_cursor_secret_is_made_once_for_the_servers_user_alone(tmp_path: Path) -> None:
    """Page tokens survive a restart, and nobody else can read the key that signs them."""
    for _ in range(2):
        app = memory_app(tmp_path)
        await app.start()
        await app.stop()
        [file] = (tmp_path / "state").iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        secret = file.read_bytes()
        assert len(secret) == 32
    again = memory_app(tmp_path)
    await again.start()
    await again.stop()
    assert file.read_bytes() == secret


@pytest.mark.anyio
@pytest.mark.parametrize("damage", [b"short", None])
async def test_a_damaged_state_directory_is_named(tmp_path: Path, damage: bytes | None) -> None:
    """The sentence says which file stands in the way and what to do."""
    if damage is None:
        (tmp_path / "state").write_text("a file where the directory should be")
    else:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "cursor.key").write_bytes(damage)
    with pytest.raises(CannotServeError, match=r"state_dir: .*cursor\.key"):
        await memory_app(tmp_path).start()


@pytest.mark.anyio
async def test_a_hook_that_cannot_be_loaded_stops_the_start(tmp_path: Path) -> None:
    """A server never runs without a check that its operator asked for."""
    with pytest.raises(ConfigurationError, match=r"no\.such\.module:Class"):
        await memory_app(tmp_path, hooks=("no.such.module:Class",)).start()


@pytest.mark.anyio
@pytest.mark.parametrize("host", ["[::1]", "localhost", "0.0.0.0", "[::]"])  # noqa: S104
async def test_every_kind_of_address_is_served(tmp_path: Path, host: str) -> None:
    """IPv6, names and all interfaces work for both listeners, and the real ports are told."""
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    app = memory_app(tmp_path, grpc_address=f"{host}:0", http_address=f"{host}:0", insecure_no_auth=True)
    addresses = await app.start()
    try:
        assert addresses.grpc.port > 0
        assert addresses.http.port > 0
        near = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"http://{near}:{addresses.http.port}/healthz")).is_success
        async with grpc.aio.insecure_channel(f"{near}:{addresses.grpc.port}") as channel:
            await channel.unary_unary("/chaukas.spec.server.v1.ChaukasServerService/Healthz")(b"")
    finally:
        await app.stop()
        await app.stop()


@pytest.mark.anyio
async def test_running_requests_end_before_the_store_closes(tmp_path: Path) -> None:
    """A stop waits for what runs: the sender gets its answer, over both transports, and nobody new is let in."""
    async with serving(tmp_path) as served, grpc.aio.insecure_channel(served.grpc_target) as channel:
        served.store.may_append.clear()
        post = asyncio.create_task(served.http.post("/v1/events", content=single_body(make_event("a")), headers=PROTOBUF))
        ingest = channel.unary_unary("/chaukas.spec.server.v1.ChaukasServerService/IngestEventBatch")
        await asyncio.wait_for(served.store.appending.wait(), 10)
        call = asyncio.create_task(_answer(ingest(batch_body(make_event("b")))))
        for _ in range(1000):
            if served.metric("chaukas_requests_in_flight", transport="grpc"):
                break
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(served.app.stop())
        for _ in range(1000):
            if not await _is_listening(served.http_port):
                break
            await asyncio.sleep(0.01)
        assert not stopping.done()
        served.store.may_append.set()
        await stopping
        assert (await post).status_code == 202
        assert server_pb2.IngestEventBatchResponse.FromString(await call).accepted_count == 1
        assert len(served.store.log("chaukas.localhost/events/acme/shop")) == 2


@pytest.mark.anyio
async def test_what_does_not_end_is_cancelled_and_still_stored(tmp_path: Path) -> None:
    """`drain_s` bounds the stop; what the server had taken by then is committed although its sender hears nothing."""
    async with serving(tmp_path, drain_s=0) as served:
        served.store.may_append.clear()
        post = asyncio.create_task(served.http.post("/v1/events", content=single_body(make_event("a")), headers=PROTOBUF))
        await asyncio.wait_for(served.store.appending.wait(), 10)
        stopping = asyncio.create_task(served.app.stop())
        answer = (await asyncio.gather(post, return_exceptions=True))[0]
        assert isinstance(answer, Exception) or answer.status_code >= 500
        served.store.may_append.set()
        await stopping
        assert len(served.store.log("chaukas.localhost/events/acme/shop")) == 1


async def _answer(call: grpc.aio.UnaryUnaryCall) -> bytes:
    return await call


async def _is_listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


class Process:
    """A server of its own, as `chaukas serve` starts it."""

    def __init__(self, directory: Path, drain_s: float = 30) -> None:
        self._log = (directory / "log").open("a+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(directory), str(drain_s)], stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        assert self.process.stdout is not None
        self.announcement = "".join(self.process.stdout.readline() for _ in range(5))

    @property
    def http(self) -> str:
        return re.findall(r"HTTP +(http://\S+)", self.announcement)[0]

    def logged(self) -> list[dict[str, object]]:
        self._log.seek(0)
        return [json.loads(line) for line in self._log if line.startswith("{")]

    def end(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    started = Process(tmp_path)
    yield started
    started.end()


def test_the_ready_line_tells_where_it_listens_and_what_to_set(process: Process) -> None:
    """When the line is there both listeners answer, and the SDK's variables can be copied from it."""
    assert "is ready" in process.announcement
    assert re.search(r"gRPC +127\.0\.0\.1:\d+", process.announcement)
    assert f"CHAUKAS_ENDPOINT={process.http}/v1 " in process.announcement
    assert httpx.get(process.http + "/v1/healthz", trust_env=False).json() == {"status": "ok"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_well(process: Process, tmp_path: Path, number: signal.Signals) -> None:
    """The process ends with status 0, its log is whole, and the events are there for the next start."""
    answer = httpx.post(process.http + "/v1/events", content=single_body(make_event("a")), headers=PROTOBUF, trust_env=False)
    assert answer.status_code == 202
    process.process.send_signal(number)
    assert process.process.wait(30) == 0
    assert [line["event"] for line in process.logged()] == ["ready", "stopping", "stopped"]
    again = Process(tmp_path)
    try:
        found = httpx.post(again.http + "/v1/query", json={}, trust_env=False).json()["events"]
        assert [event["event_id"] for event in found] == ["a"]
    finally:
        again.end()


def test_a_second_signal_ends_the_process_at_once(process: Process) -> None:
    """Whoever asks twice does not wait for a client that never finishes its request."""
    port = int(process.http.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as hanging:
        hanging.sendall(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
        # Two requests at work are the hanging one and the scrape that asks.
        for _ in range(200):
            if 'in_flight{transport="http"} 2.0' in httpx.get(process.http + "/metrics", trust_env=False).text:
                break
            time.sleep(0.05)
        process.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.process.wait(1)
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(30) == 128 + signal.SIGTERM


def test_an_impossible_start_ends_with_a_sentence(tmp_path: Path, process: Process) -> None:
    """The second server on the directory ends by itself and says why; the first goes on."""
    second = subprocess.run(
        [sys.executable, "-c", _SERVE, str(tmp_path), "1"], capture_output=True, text=True, timeout=60, check=False
    )
    assert second.returncode != 0
    assert "CannotServeError" in second.stderr
    assert httpx.get(process.http + "/healthz", trust_env=False).is_success
