"""Listeners that report a run elsewhere: MLflow, TensorBoard."""
