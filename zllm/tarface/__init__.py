"""``ZllmFile``: archives with the face of :mod:`tarfile`."""
