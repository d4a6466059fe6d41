"""What a network is worth where images have several labels: metrics, thresholds, reports, comparison."""
