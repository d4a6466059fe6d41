"""Why a network says what it says: maps of a class over the image, and the proof that they matter."""
