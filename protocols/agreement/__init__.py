"""Agreement, roster and order: what people sign, and the pure decision that obeys it (SPEC.md)."""
