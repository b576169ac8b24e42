"""What the agent did, on what evidence, and what is missing: pure functions over recorded events (DESIGN §7)."""
