"""The transparency log: keys, signing, the growing tree, tiles, proofs and witnessing. These parts do no I/O but key files."""
