"""Makes this folder importable, so that rooms share fixtures (``small_coop``)."""
