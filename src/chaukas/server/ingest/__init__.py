"""The way of an event from a request to the store: preparation, user hooks, group commit."""
