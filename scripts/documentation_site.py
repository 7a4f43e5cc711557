"""What MkDocs needs beside ``docs/``: pages made of files that lie elsewhere, and formulas that need no script.

The home page is README.md, and *Extending* is CONTRIBUTING.md, so that no text stands twice. The API reference lists
what the packages' faces export, so that a new class is in it without being added here. Formulas become MathML, which
browsers draw by themselves: a page loads nothing from elsewhere.
"""

import ast
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[1]
ELSEWHERE = {"README.md": "index.md", "CONTRIBUTING.md": "extending.md", "CHANGELOG.md": "changelog.md"}
"""Files of the project and the pages that they become."""

PACKAGES = {
    "relsplit": ("__init__.pyi", "What `import relsplit` has. It needs torch alone."),
    "relsplit.lrp": (
        "lrp/__init__.py",
        "Rules and splittings as objects, for options that a name does not say, and the class that uses them: "
        "[`relsplit.LRP`](relsplit.md#relsplit.lrp.LRP). They need torch alone.",
    ),
    "relsplit.pictures": (
        "pictures/__init__.pyi",
        "Maps laid over their images; signals, volumes, boxes and tokens with theirs: "
        "[Beyond images](../beyond_images.md). They need Matplotlib.",
    ),
    "relsplit.targets": (
        "targets/__init__.pyi",
        "What is explained besides a class: give one of these as `target`. They need torch alone.",
    ),
    "relsplit.explainers": (
        "explainers/__init__.pyi",
        "An explainer is made as `Method(model, **options)` and has `attribute(images, target)`. What each of them is, "
        "needs and costs: [Explainers](../explainers.md).",
    ),
    "relsplit.metrics": (
        "metrics/__init__.pyi",
        "Metrics of torchmetrics, columns of an evaluation, and functions of tensors. What each of them asks: "
        "[Evaluate](../evaluate.md#metrics-beside-the-curves).",
    ),
}
"""The packages of the API reference: the file below ``src/relsplit`` that exports their names, and a word on them."""

INTERFACES = {
    "Rules": ("lrp.rules.rule.Rule", "lrp.rules.rule.RuleChoice", "lrp.rules.rule.Place"),
    "What a rule may ask a layer": ("lrp.layers.linear_layer.LinearLayer",),
    "Splittings": ("lrp.splitting.splitting.Splitting",),
    "Attention": ("lrp.attention.treatment.Attention",),
    "Operations": ("lrp.recording.call.Call",),
    "Explainers": ("explainers.shared.gradient_cam.GradientCAM", "networks.shared_network.SharedNetwork"),
    "Protocols": (
        "metrics.insertion_deletion.protocols.protocol.Protocol",
        "metrics.insertion_deletion.protocols.protocol.CurvePoints",
    ),
    "Datasets": ("bench.data.catalogue.Catalogue", "bench.data.catalogue.Sample"),
    "Names": ("registry.Registry",),
    "Options": ("options.checked_options", "options.Limits"),
    "Errors": ("errors.InputError", "errors.IncompleteRun"),
}
"""What recipes implement or use, below ``relsplit``."""


def exported(face: Path) -> list[tuple[str, str]]:
    """Return the public names that a package's face exports, and where each is defined."""
    return [
        (alias.asname or alias.name, f"{statement.module}.{alias.name}")
        for statement in ast.parse(face.read_text(encoding="utf-8")).body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
        if not alias.name.startswith("_") and alias.name != "lazy_exports"
    ]


def entry(home: str, level: int) -> str:
    """Return mkdocstrings' directive for what is defined at ``home``, with a heading of a level."""
    return f"::: {home}\n    options:\n      heading_level: {level}\n"


def reference_pages() -> Iterator[tuple[str, str]]:
    """Yield the pages of the API reference and their Markdown; a name stands on the first page that has it."""
    seen: set[str] = set()
    for package, (face, words) in PACKAGES.items():
        names = [name for name in exported(PROJECT / "src/relsplit" / face) if name[0] not in seen]
        seen.update(name for name, _ in names)
        entries = [entry(home, level=2) for _, home in names]
        yield f"api/{package}.md", "\n".join([f"# {package}\n\n{words}\n", *entries])
    recipes = "# Interfaces\n\nWhat the recipes of [Extending](../extending.md) implement, and what they use.\n"
    sections = [
        "\n".join([f"## {title}\n", *(entry(f"relsplit.{home}", level=3) for home in homes)])
        for title, homes in INTERFACES.items()
    ]
    yield "api/interfaces.md", "\n".join([recipes, *sections])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of other files."""
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(PROJECT / source).read_text(encoding="utf-8")))
    for page, markdown in reference_pages():
        files.append(File.generated(config, page, content=markdown))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links lead to the pages of the site, and call a page by its name where the text has a file's.

    README's links are relative to the project, those of ``docs/`` to that folder.
    """
    if page.file.src_uri in ELSEWHERE.values():
        markdown = markdown.replace("](docs/", "](")
    for source, target in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{source}", f"]({target}").replace(f"]({source}", f"]({target}")
    titles = dict(named_pages(config.nav or []))
    markdown = re.sub(
        r"\[(?:docs/)?[\w.-]+\.md\]\(([\w.-]+\.md)", lambda found: f"[{titles[found[1]]}]({found[1]}", markdown
    )
    return re.sub(r"\[([^\]]+)\]\((?:LICENSE|CITATION\.cff)\)", r"`\1`", markdown)


def named_pages(entries: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield every page of a navigation and what it is called there."""
    for entry in entries:
        for name, page in entry.items():
            if isinstance(page, list):
                yield from named_pages(page)
            else:
                yield page, name


def on_page_content(content: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Draw formulas, and turn the docstrings' references into links where the site has what they name."""
    content = re.sub(
        r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>',
        lambda found: convert(html.unescape(found[2]), display="block" if found[1] == "div" else "inline"),
        content,
        flags=re.DOTALL,
    )
    return re.sub(
        r":(?:class|meth|mod|func|attr|data):<code>~?([\w.]+)</code>",
        r'<autoref identifier="\1" optional><code>\1</code></autoref>',
        content,
    )
