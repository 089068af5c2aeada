"""Training of the subjects: the one-layer transformer and SAEs on its activations."""
