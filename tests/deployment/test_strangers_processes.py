"""Who is not let in, with real processes: a SuperLink, and SuperNodes that are not the sites.

Some three minutes on two cores, so it is run by hand:

    TRIFED_PROCESSES=1 python -m pytest tests/deployment/test_strangers_processes.py
"""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from client.joining.folder import folder_beside
from server.joining.certificates import make_certificates
from shared.address import parse_address
from shared.config import load_study
from shared.strict_yaml import dump_settings
from tests.conftest import changed
from tests.deployment import real_processes
from tests.deployment.real_processes import ROOT, Federation, joined, until
from tests.made_up_joining import bare_site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        "TRIFED_PROCESSES" not in os.environ, reason="run by hand, with TRIFED_PROCESSES=1"
    ),
]
LIMIT_S = 900.0
SOAK = Path(__file__).with_name("soak.yaml")
SITES = ("site_a", "site_b", "site_c", "site_d", "site_e", "site_f")
WORDS = {
    "site_b": "the server does not know the key in federation/node.key",
    "site_c": "the server does not know the key in federation/node.key, or still counts",
    "site_d": "the server's certificate is not accepted. 'trifed site check SITE.yaml --network'",
    "site_e": "the server takes this site's requests for forged ones",
    "site_f": "the server takes this site's requests for forged ones",
}
"""What the log says with a key of nobody's, another site's key, another CA, and a wrong clock."""
CLOCK = """
import os, sys
from datetime import timedelta
if "client.deploy.supernode" in " ".join(sys.orig_argv):
    from flwr.supernode import node_auth_http_interceptor as signing
    right = signing.now
    signing.now = lambda: right() + timedelta(days=int(os.environ["DAYS"]))
"""


@pytest.fixture
def federation():
    """A server that knows six hospitals, which have no patients: only their couriers run."""
    folder = Path(tempfile.mkdtemp(prefix="tri"))
    study = changed(load_study(SOAK), sites={"training": list(SITES)}, phantom=None)
    (folder / "study.yaml").write_text(dump_settings(study))
    site_files = [bare_site(folder / site, name=site) for site in SITES]
    with joined(folder / "study.yaml", site_files, folder) as made:
        yield made
    shutil.rmtree(folder)


def online(federation: Federation) -> list[str]:
    """The sites that the server sees."""
    try:
        told = json.loads((federation.server / "run" / "status.json").read_text())
    except (OSError, ValueError):
        return []
    return [site for site, entry in told["sites"].items() if entry["online"]]


@pytest.mark.timeout(LIMIT_S)
def test_supernodes_that_are_not_the_sites_are_kept_out_and_told_why(federation, monkeypatch):
    files = {site_file.parent.name: site_file for site_file in federation.site_files}
    here = {site: folder_beside(site_file) for site, site_file in files.items()}

    def start(site):
        name = f"{site} courier"
        federation.start(name, "site", "start", files[site], "--courier-only", "--foreground")

    here["site_b"].key_file.unlink()
    here["site_b"].key()  # a new one, which nobody accepted
    shutil.copy(here["site_a"].key_file, here["site_c"].key_file)
    other = make_certificates("other", parse_address(f"127.0.0.1:{federation.port}"))
    here["site_d"].authority_file.write_bytes(other.authority)
    federation.start_server()
    start("site_a")
    until(lambda: online(federation) == ["site_a"], limit_s=300, what="site_a is online")
    for site in ("site_b", "site_c", "site_d"):
        start(site)
    clock = federation.server.parent / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(CLOCK)
    path = f"{clock}{os.pathsep}{ROOT}"
    for site, days in (("site_e", "1"), ("site_f", "-1")):
        with monkeypatch.context() as around:
            around.setitem(real_processes.ENVIRONMENT, "PYTHONPATH", path)
            around.setitem(real_processes.ENVIRONMENT, "DAYS", days)
            start(site)

    def log_of(site):
        log = files[site].parent / "federation" / "flower" / "logs" / "supernode.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def all_told():
        return all(words in log_of(site) for site, words in WORDS.items())

    try:
        until(all_told, limit_s=300, what="every SuperNode has said why")
    finally:
        kept = Path(os.environ.get("KEEP_LOGS", federation.server.parent / "kept"))
        kept.mkdir(parents=True, exist_ok=True)
        for site in SITES:
            (kept / f"{site}.log").write_text(log_of(site))
    time.sleep(10)
    assert online(federation) == ["site_a"]
    assert not (federation.server / "run" / "study" / "identity.json").exists()
