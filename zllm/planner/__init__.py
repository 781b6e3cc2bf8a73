"""Which codec for which bytes: categories, probes, levels."""
