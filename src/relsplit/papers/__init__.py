"""A paper's tables and figures: their rows are planned, measured by the bench, and put beside what was published."""
