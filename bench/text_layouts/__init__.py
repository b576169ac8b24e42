"""The trial from which the text index was chosen: `python -m bench.text_layouts` (docs/decisions/0008)."""
