"""A run's rounds and results for TensorBoard or MLflow, in files beside the run, if a user asks."""
