"""Install the system tools that some tests need and a fresh machine may lack: strace, which watches what reaches the disk.

On Debian and its kin as root (or with passwordless sudo) it is installed by `apt-get`; elsewhere the command says what to
install, and stops. Nothing is done when the tool is there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

_TOOLS = {"strace": "strace"}


def main() -> int:
    """0 when every tool is there in the end."""
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if not missing:
        return 0
    apt = shutil.which("apt-get")
    if apt is None:
        sys.stderr.write(f"please install with your system's package manager, then run again: {', '.join(missing)}\n")
        return 1
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run([*prefix, apt, *arguments], env=environment, check=False, stdout=subprocess.DEVNULL)
        if done.returncode:
            sys.stderr.write(f"could not install {', '.join(missing)} with apt-get; please install by hand and run again\n")
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
