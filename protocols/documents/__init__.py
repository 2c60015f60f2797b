"""Documents for people and authorities, as values: from agreement and figures to text."""
