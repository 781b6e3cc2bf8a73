"""Training and quantising models. Needs torch; nothing that extracts imports it."""
