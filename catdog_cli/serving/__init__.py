"""Answers over HTTP on this machine: one way of serving, whatever the page."""
