"""What is wrong with a data set: damaged images, near duplicates, label errors."""
