"""How results are written for readers: text tables, LaTeX, one HTML page."""
