"""What tills and shops export: tables of names and types, and small functions for their quirks."""
