"""Layer-wise relevance propagation for residual networks."""
