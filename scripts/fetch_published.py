"""Fetch the published packages of the contract into places of their own under ``.cache``.

    python scripts/fetch_published.py          the stubs, 1.0.1 and 1.0.5
    python scripts/fetch_published.py --sdk    also an environment that can run the published SDK

Nothing of it ever enters the environment of this project: it is what the compatibility tests compare with. Quick
when everything is there already. Standard library only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from environments import ROOT, ensure_environment, ensure_target

__all__ = ["PUBLISHED", "SDK", "fetch_published", "fetch_sdk"]

# Both ends of what is in use: 1.0.1 is the oldest contract that we promise to serve, 1.0.5 the newest.
PUBLISHED = tuple((name, version) for name in ("chaukas-spec-client", "chaukas-spec-server") for version in ("1.0.1", "1.0.5"))
SDK = ("chaukas-sdk==0.1.0", "chaukas-spec-client==1.0.5")


def fetch_published(name: str, version: str) -> Path:
    """Return the directory that holds one published distribution and nothing else; fetch it when missing."""
    return ensure_target(ROOT / ".cache" / "published" / f"{name}-{version}", f"{name}=={version}")


def fetch_sdk() -> Path:
    """Return the interpreter of an environment with the published SDK and stubs, and nothing of ours."""
    return ensure_environment(ROOT / ".cache" / "venvs" / "sdk", SDK)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(description="Fetch the published packages of the contract.")
    parser.add_argument("--sdk", action="store_true", help="also make the environment of the published SDK")
    options = parser.parse_args(arguments)
    for name, version in PUBLISHED:
        fetch_published(name, version)
    if options.sdk:
        fetch_sdk()
    return 0


if __name__ == "__main__":
    sys.exit(main())
