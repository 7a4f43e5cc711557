"""Global Attribution Evaluation (GAE): faithfulness, robustness and contrastiveness in one number."""
