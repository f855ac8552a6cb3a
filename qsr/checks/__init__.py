"""Is a model ready for 8 bits? Findings with evidence, each kind of them in one file."""
