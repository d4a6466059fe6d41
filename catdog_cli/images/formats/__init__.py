"""What the headers of image formats say, and how their colour modes become RGB."""
