"""What a noised sum says about one customer: noise, rounding and the account (SPEC.md).

Pure: entropy is an argument; nothing here draws, reads or keeps anything by itself.
"""
