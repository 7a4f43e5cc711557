"""What ``run.py`` does: one file per file of ``conf/task``."""
