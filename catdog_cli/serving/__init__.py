"""Answers over HTTP: a page for one browser on this machine, and a service for many."""
