"""How far a verdict can be trusted: calibration, label sets, and whether the input is like the training data."""
