"""Predictions as files: CSV, JSON lines, Parquet, folders by class."""
