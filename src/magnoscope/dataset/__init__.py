"""Training sets: draws from the priors, building, storage, and the noise of a measurement."""
