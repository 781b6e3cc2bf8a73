"""The project's own measurements: ``python -m bench NAME``. Results that are kept are in ``bench/results``."""
