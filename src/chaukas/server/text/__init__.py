"""The texts of events: what they are, how they are cut into tokens, and how a query finds them."""
