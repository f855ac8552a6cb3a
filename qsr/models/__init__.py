"""Super-resolution networks as Keras 2 models, built from one frozen config each."""
