"""Who promises to conserve relevance."""


def promises_conservation(rule: object) -> bool:
    """Say whether a rule or splitting has ``conserves = True`` and no stabiliser, which would take a part."""
    return bool(getattr(rule, "conserves", False)) and not getattr(rule, "stabilizer", 0)
