"""Where data sets come from: downloads, archives, drawn samples."""
