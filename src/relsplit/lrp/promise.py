"""Who promises to conserve relevance."""


def promises_conservation(rule: object) -> bool:
    """Say whether a rule or splitting has the attribute ``conserves``, and it is true; one without promises nothing."""
    return bool(getattr(rule, "conserves", False))
