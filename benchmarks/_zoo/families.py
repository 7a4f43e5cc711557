"""All sections of the list, in its order."""

from _zoo import images, language, vision
from _zoo.case import Family

FAMILIES: dict[str, Family] = {**vision.FAMILIES, **images.FAMILIES, **language.FAMILIES}
