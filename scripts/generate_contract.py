"""Generate the Python code of the contract from ``proto/`` into ``src/``.

    python scripts/generate_contract.py            write the generated files
    python scripts/generate_contract.py --check    compare them with what is there; exit 1 with a diff if they differ

Standard library only. The compilers live in an environment of their own, ``.cache/protoc``, with pinned versions:
the same sources give the same bytes on every machine.
"""

from __future__ import annotations

import argparse
import difflib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from environments import ROOT, ensure_environment

# Generated code asks for at least the protobuf and grpcio versions of its compilers, so the compilers are old on
# purpose: protoc 31.1 asks for protobuf 6.31.1 and is accepted by 6.33 and by every 7.x; docs/decisions has more.
COMPILERS = (
    "grpcio-tools==1.76.0",
    "grpcio==1.76.0",
    "protobuf==6.33.6",
    "mypy-protobuf==5.1.0",
    "types-protobuf==7.35.1.20260906",
    "setuptools==80.9.0",
)

_PROTO = ROOT / "proto"
_SOURCE = ROOT / "src"
# The packages that hold nothing but generated code, each with a marker that it is typed.
_PACKAGES = (Path("chaukas/spec"), Path("chaukas/audit"), Path("chaukas/explain"))
_INIT = '"""Generated from proto/ by scripts/generate_contract.py; do not edit."""\n'
_SERVICE = re.compile(r"^service\s", re.MULTILINE)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Generate the Python code of the contract.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 if anything differs")
    options = parser.parse_args(arguments)

    wanted = _generate()
    present = _read_present()
    if options.check:
        return _compare(wanted, present)
    _write(wanted, present)
    return 0


def _generate() -> dict[Path, str]:
    """Compile every ``.proto`` file; return the text of each file under ``src/`` by its relative path."""
    python = ensure_environment(ROOT / ".cache" / "protoc", COMPILERS)
    protos = sorted(_PROTO.rglob("*.proto"))
    services = [proto for proto in protos if _SERVICE.search(proto.read_text(encoding="utf-8"))]
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        _compile(python, protos, f"--python_out={out}", f"--pyi_out={out}")
        _compile(
            python,
            services,
            f"--grpc_python_out={out}",
            f"--plugin=protoc-gen-mypy_grpc={python.parent / 'protoc-gen-mypy_grpc'}",
            # quiet: no word per file; concrete: a servicer may leave methods out, as at run time.
            f"--mypy_grpc_out=quiet,generate_concrete_servicer_stubs:{out}",
        )
        files = {path.relative_to(out): path.read_text(encoding="utf-8") for path in out.rglob("*") if path.is_file()}
    for package in _PACKAGES:
        files[package / "py.typed"] = ""
    for directory in {parent for path in files for parent in path.parents}:
        if any(directory.is_relative_to(package) for package in _PACKAGES):
            files[directory / "__init__.py"] = _INIT
    return files


def _compile(python: Path, protos: list[Path], *options: str) -> None:
    names = [str(proto.relative_to(_PROTO)) for proto in protos]
    subprocess.run([str(python), "-m", "grpc_tools.protoc", f"--proto_path={_PROTO}", *options, *names], check=True)


def _read_present() -> dict[Path, str]:
    """What stands in the generated packages now, byte code aside."""
    return {
        path.relative_to(_SOURCE): path.read_text(encoding="utf-8")
        for package in _PACKAGES
        for path in (_SOURCE / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def _compare(wanted: dict[Path, str], present: dict[Path, str]) -> int:
    differs = False
    for path in sorted({*wanted, *present}):
        if wanted.get(path) == present.get(path):
            continue
        differs = True
        state = "missing" if path not in present else "not generated" if path not in wanted else "differs"
        print(f"src/{path}: {state}")
        before, after = present.get(path, "").splitlines(True), wanted.get(path, "").splitlines(True)
        sys.stdout.writelines(difflib.unified_diff(before, after, f"committed/{path}", f"generated/{path}"))
    if differs:
        print("The generated code is not that of proto/: run scripts/generate_contract.py and commit the result.")
    return int(differs)


def _write(wanted: dict[Path, str], present: dict[Path, str]) -> None:
    for path in sorted(present.keys() - wanted.keys()):
        (_SOURCE / path).unlink()
        print(f"removed src/{path}")
    for path, text in sorted(wanted.items()):
        if present.get(path) != text:
            (_SOURCE / path).parent.mkdir(parents=True, exist_ok=True)
            (_SOURCE / path).write_text(text, encoding="utf-8")
            print(f"wrote src/{path}")


if __name__ == "__main__":
    sys.exit(main())
