"""Makes this folder importable, so that its tests share synthetic shops (``shop_series``)."""
