"""Layers that are linear in their input, as the rules see them, and how they are made from modules and functions."""
