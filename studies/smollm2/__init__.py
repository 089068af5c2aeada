"""Are features of SmolLM2-135M more interpretable than its neurons, and than untrained features?"""
