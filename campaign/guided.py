"""One target under atheris: `python -m campaign.guided TARGET CORPUS [options of libFuzzer]`. Started by the part `fuzz`."""

from __future__ import annotations

import sys

import atheris

# What is imported in here is instrumented, so that the fuzzer sees which branches an input takes.
with atheris.instrument_imports(
    include=["chaukas.server.wire", "chaukas.server.text", "chaukas.server.query", "chaukas.server.ingest"]
):
    from campaign.fuzz_targets import TARGETS, attempt

_FLAGS = ("-max_len=8192", "-print_final_stats=1", "-rss_limit_mb=2048")


def main() -> None:
    """Fuzz until the time is over; ends the process, with a status other than 0 after a finding."""
    name, directory, *options = sys.argv[1:]
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], directory, *_FLAGS, *options], lambda data: attempt(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
