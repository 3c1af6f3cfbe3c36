"""Sphinx: the pages of this folder, and the reference of the code made from its docstrings."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import http_reference
import manual
from docutils.nodes import Element, TextElement, document, reference
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

project = "vmproxy"
author = "the vmproxy developers"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.apidoc"]
# What is made for the man pages is no page of the others: `make man`.
exclude_patterns = ["_build"] if tags.has("man") else ["_build", "man"]  # noqa: F821
man_pages = manual.PAGES
html_theme = "alabaster"
html_extra_path = ["../etc", "../README.rst", "../NEWS.rst", "../CONTRIBUTING.rst"]
nitpicky = True
# Lines of a session that are no shell, such as those of jq.
# A base class that two modules name alike is resolved by its module in the code.
suppress_warnings = ["misc.highlighting_failure", "ref.python"]

apidoc_modules = [
    {"path": "../vmproxy", "destination": "api", "separate_modules": False, "module_first": True, "max_depth": 1}
]
autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_class_signature = "separated"

# There is no network where this is built, so no inventory of what is not ours.
STANDARD = "|".join(sorted(sys.stdlib_module_names))
nitpick_ignore_regex = [
    (r"py:.*", rf"(twisted|zope|OpenSSL|cryptography|re2|{STANDARD})(\..*)?"),
    (r"py:obj", r"vmproxy\..*\.[A-Z](_co)?"),  # type variables
]


def constants() -> set[str]:
    """The names in all modules of the package, which autodoc has imported."""
    return {name for module in sys.modules if module.startswith("vmproxy.") for name in vars(sys.modules[module])}


def by_its_last_name(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: TextElement) -> Element | None:
    """Resolve a name that is the only one of its kind in the package, wherever it is defined."""
    if node.get("refdomain") != "py":
        return None
    wanted = node["reftarget"].lstrip(".")
    kinds = env.domains.python_domain.objtypes_for_role(node["reftype"]) or []
    found = [
        (name, entry)
        for name, entry in env.domains.python_domain.objects.items()
        if f".{name}".endswith(f".{wanted}") and entry.objtype in kinds and not entry.aliased
    ]
    if len(found) == 1:
        ((name, entry),) = found
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, [content], name)
    if not found and any(
        hasattr(module, wanted) for name, module in sys.modules.items() if name.startswith("vmproxy.")
    ):
        return content  # a constant: it has no entry of its own
    return None


def to_built_pages(app: Sphinx, page: document) -> None:
    """Turn links between files, as they work in a checkout (``logs.rst#rotation``), into links between built pages."""
    for link in page.findall(reference):
        target = str(link.get("refuri", ""))
        if file := re.fullmatch(r"([a-z-]+)\.rst(#.*)?", target):
            link["refuri"] = f"{file[1]}.html{file[2] or ''}"
        elif target.startswith("../"):
            link["refuri"] = Path(target).name


def setup(app: Sphinx) -> None:
    """Add the resolver behind Sphinx's own; make what is made."""
    manual.write()
    http_reference.write()
    app.connect("missing-reference", by_its_last_name)
    app.connect("doctree-read", to_built_pages)
