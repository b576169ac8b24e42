"""gRPC and HTTP: they translate between the wire and the operations, and decide nothing."""
