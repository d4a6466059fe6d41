"""Settings by measurement: cross-validation, and a search that scores by it within a time that is said."""
