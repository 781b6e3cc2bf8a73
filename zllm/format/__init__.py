"""The format, piece by piece: nothing here codes data or knows a codec. See ``docs/zllm-format.md``."""
