"""The machine that a run has: device, memory, processes, terminal, Lightning."""
