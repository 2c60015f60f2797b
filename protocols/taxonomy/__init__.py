"""The shared categories of goods and services that members' models have in common."""
