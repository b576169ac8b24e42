"""The documents are checked against the code: nothing a user can set, call or read goes undocumented, and the README runs.

Every setting, flag, route, metric, hook and framework verb must stand in its document, in backquotes. The README's `console`
blocks are run line by line against a started server, its `python` blocks as programs; each must succeed, and the first
console block must print what it shows.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer.main
from fetch_published import fetch_sdk

from chaukas.server.cli.program import program
from chaukas.server.config import Settings
from chaukas.server.framework import ChaukasServicer
from chaukas.server.ingest.hooks import IngestHook
from chaukas.server.telemetry import Telemetry
from chaukas.server.transports.openapi import openapi_document

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_READY_S = 15.0


def main() -> int:
    """0 when nothing is missing and everything ran."""
    complaints = [*undocumented()]
    complaints += list(run_readme())
    sys.stderr.writelines(text + "\n" for text in complaints)
    sys.stdout.write(f"documents checked, {len(complaints)} complaints\n")
    return 1 if complaints else 0


def undocumented() -> Iterator[str]:
    """Names that the code offers and no document mentions."""
    settings = list(Settings.model_fields)
    yield from _missing("configuration.md", "setting", settings)
    yield from _missing("configuration.md", "variable", [f"CHAUKAS_SERVER_{name.upper()}" for name in settings])
    yield from _missing("cli.md", "command or flag", _commands_and_flags())
    yield from _missing("http.md", "route", _routes())
    yield from _missing("metrics.md", "metric", _metrics())
    yield from _missing("hooks.md", "hook", _verbs(IngestHook))
    yield from _missing("framework.md", "verb", [name for name in _verbs(ChaukasServicer) if name.islower()])


def _missing(document: str, kind: str, names: Iterable[str]) -> Iterator[str]:
    path = ROOT / "docs" / document
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for name in names:
        if not re.search(rf"`[^`\n]*{re.escape(name)}(?![\w-])[^`\n]*`", text):
            yield f"docs/{document} does not mention the {kind} {name}"


def _verbs(base: type) -> list[str]:
    return [name for name, _ in inspect.getmembers(base, inspect.isfunction) if not name.startswith("_")]


def _commands_and_flags() -> list[str]:

    names: list[str] = []

    def walk(command: object, path: str) -> None:
        for name, child in getattr(command, "commands", {}).items():
            names.append(f"{path} {name}")
            walk(child, f"{path} {name}")
        for parameter in getattr(command, "params", []):
            names.extend(option for option in parameter.opts if option.startswith("--"))

    walk(typer.main.get_command(program()), "chaukas")
    return [name for name in dict.fromkeys(names) if name not in ("--install-completion", "--show-completion")]


def _routes() -> list[str]:

    return list(openapi_document()["paths"])


def _metrics() -> list[str]:

    families = Telemetry(log_level="error", log_format="json").registry.collect()
    return [family.name + ("_total" if family.type == "counter" else "") for family in families]


def run_readme() -> Iterator[str]:
    """Problems of the README's code blocks."""
    http, grpc = _free_port(), _free_port()
    scratch = Path(tempfile.mkdtemp(prefix="chaukas-readme-"))
    command = str(Path(sys.executable).parent / "chaukas")
    server = subprocess.Popen(
        [
            *(command, "serve", "--data", f"{scratch}/data", "--state", f"{scratch}/state", "--log-level", "warning"),
            *("--http", f"127.0.0.1:{http}", "--grpc", f"127.0.0.1:{grpc}"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(http)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CHAUKAS_SERVER_URL": f"http://127.0.0.1:{http}",
            "CHAUKAS_ENDPOINT": f"http://127.0.0.1:{http}/v1",
            "CHAUKAS_API_KEY": "none",
            "CHAUKAS_TENANT_ID": "acme",
            "CHAUKAS_PROJECT_ID": "helpdesk",
            "COLUMNS": "80",
        }
        text = (ROOT / "README.md").read_text(encoding="utf-8").replace(":8080", f":{http}").replace(":50051", f":{grpc}")
        shows_output = True
        for kind, body in _BLOCK.findall(text):
            if kind == "console":
                yield from _run_console(body, environment, compare=shows_output)
                shows_output = False
            elif kind == "python":
                yield from _run_python(body, environment)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        shutil.rmtree(scratch)


def _run_console(body: str, environment: dict[str, str], *, compare: bool) -> Iterator[str]:
    """Each line that begins with `$ ` is a command; with `compare` the lines behind it are what it prints."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        done = subprocess.run(
            ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        if done.returncode:
            yield f"README: `{command}` ended with {done.returncode}: {done.stderr.strip()}"
        elif compare and _timeless(done.stdout + done.stderr) != _timeless(shown):
            yield f"README: `{command}` prints\n{done.stdout}{done.stderr}instead of\n{shown}"


def _timeless(text: str) -> str:
    return re.sub(r"in \d+\.\d s", "in _ s", "\n".join(line.rstrip() for line in text.strip().splitlines()))


def _run_python(body: str, environment: dict[str, str]) -> Iterator[str]:
    """Programs that import the SDK run in the SDK's own environment."""
    interpreter = str(fetch_sdk()) if "chaukas.sdk" in body else sys.executable
    done = subprocess.run(
        [interpreter, "-c", body], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        yield f"README: a python block failed:\n{done.stderr}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


if __name__ == "__main__":
    raise SystemExit(main())
