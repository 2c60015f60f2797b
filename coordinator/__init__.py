"""The cooperative's office. It sees sums and signatures only."""
