"""One ODCS contract for each canonical table."""
