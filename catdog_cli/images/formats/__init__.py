"""What the headers of image formats say, and how their colour modes become RGB."""


class FormatError(ValueError):
    """A picture cannot be read; the text is the end of a sentence that begins with its name and a colon."""
