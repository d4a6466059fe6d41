"""How good a network is: metrics, intervals, calibration, reports."""
