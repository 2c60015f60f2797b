"""Data contracts: one for each canonical table, made from facts and held against the rows.

Open Data Contract Standard (ODCS) v3.1.0, Bitol, LF AI & Data. ``profile.json`` is our own schema
of the part of the standard that is made and read here; every document that fits it fits the
standard. What else the standard allows is named when it stands in a contract, not passed over.
"""
