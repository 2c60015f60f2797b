"""Beside this file lie helpers that the tests below import by name."""
