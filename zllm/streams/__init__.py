"""One compressed stream, in the shape of Python's ``compression.zstd``: an archive of one raw stream."""
