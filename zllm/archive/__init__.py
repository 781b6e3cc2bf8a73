"""Writing and reading archives: the sink, the views, and tarfile on top of them."""
