"""The grid pointing game: several images in one, and does the map of a class lie on the one that shows it."""
