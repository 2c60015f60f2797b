"""What this member allows: its signatures, its house rules, its ledgers, its gate."""
