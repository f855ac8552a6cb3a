"""Training from a recipe file, with checkpoints and resume."""
