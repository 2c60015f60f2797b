"""A shared list of categories, so that members' models mean the same by a name (SPEC.md)."""
