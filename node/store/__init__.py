"""What a node must remember, in one SQLite file: documents, orders, spent rounds, budgets."""
