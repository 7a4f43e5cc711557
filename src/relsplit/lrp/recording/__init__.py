"""What one call of the user's own network really carries out: its operations in order, and who holds which value."""
