"""Measures the server of this repository from outside; see README.md beside this file."""
