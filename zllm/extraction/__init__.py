"""Writing members to disk: below one folder, never through a link, and whole or not at all."""
