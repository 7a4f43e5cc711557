"""What only reads a model's graph: tracing it, kinds of nodes, facts about them, residual blocks, their functions."""
