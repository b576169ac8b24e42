"""The trial from which the layout of the embedded store was chosen: `python -m bench.layouts` (docs/decisions/0002)."""
