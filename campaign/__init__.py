"""The campaign: long runs that look for what tests of seconds do not find; `README.md` says how. Run from the root."""
