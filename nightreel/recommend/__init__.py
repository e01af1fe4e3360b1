"""The recommender: data sets, the taste model, its baselines, evaluation and gate (NumPy and Arrow only)."""
