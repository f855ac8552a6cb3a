"""Search strategies: one per file, each deciding which sets of images to try next."""
