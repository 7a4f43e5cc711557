"""Looking at a user's network without touching it: views and copies of it, its layers by name, batches that fit."""
