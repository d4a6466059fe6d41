"""What is wrong with a picture, told apart from whatever else a decoder may raise."""


class FormatError(ValueError):
    """A picture cannot be read; the text is the end of a sentence that begins with its name and a colon."""
