"""A trained network as a page: a folder of files that answers in any browser, offline too."""
