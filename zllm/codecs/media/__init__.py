"""What the codecs of media know about files: where their samples, pixels and numbers are."""
