"""What a paper shows, made from finished runs: tables, figures, audits, failures."""
