"""The archive format itself: bytes in, bytes out, no codec and no file system. ``docs/zllm-format.md`` is the spec."""
