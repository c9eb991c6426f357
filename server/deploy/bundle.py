"""What Flower delivers to every site: two lines that import what the site itself installed.

A hospital therefore runs no code that was sent to it. Flower wants a bundle, puts its folder first
on the path and imports from there; the names of its modules are such that they hide nobody's.
"""

import hashlib

from flwr.cli.build import build_fab_from_files
from flwr.supercore.fab import Fab

SERVER, CLIENT = "trifed_bundle_server", "trifed_bundle_client"
FILES = {
    "pyproject.toml": f"""\
[project]
name = "trifed-courier"
version = "1.0.0"
description = "Names the installed ServerApp and ClientApp of trifed; holds no code of its own"
license = "Apache-2.0"
dependencies = ["flwr"]

[tool.flwr.app]
publisher = "trifed"
fab-include = ["{SERVER}.py", "{CLIENT}.py"]

[tool.flwr.app.components]
serverapp = "{SERVER}:app"
clientapp = "{CLIENT}:app"

[tool.flwr.app.config]
""",
    f"{SERVER}.py": "from server.deploy.app import app as app\n",
    f"{CLIENT}.py": "from client.courier import app as app\n",
}


def bundle() -> Fab:
    """The bundle as Flower takes it; the same bytes every time."""
    content, _ = build_fab_from_files({name: text.encode() for name, text in FILES.items()})
    return Fab(hashlib.sha256(content).hexdigest(), content, {})
