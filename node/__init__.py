"""One member's house. Rows never leave it."""
