"""Bytes to events and back: the protobuf wire level, and the JSON forms."""
