"""What runs code from data cannot come into the product: the check of its source finds each way."""

import pytest

from tests import test_architecture as lint
from tests.adversarial.hospital import row

WAYS = [
    row("T03", "torch.load", "import torch\ntorch.load('x')"),
    row("T03", "torch.load of all", "import torch\ntorch.load('x', weights_only=False)"),
    row("T03", "load from torch", "from torch import load\nload('x')"),
    row("T03", "joblib", "import joblib\njoblib.load('x')"),
    row("T03", "pickle", "import pickle"),
    row("T03", "pickle in a function", "def f():\n    from pickle import loads"),
    row("T03", "eval", "eval('1')"),
    row("T03", "exec", "exec('1')"),
    row("T03", "yaml.load", "import yaml\nyaml.load('x', Loader=yaml.Loader)"),
    row("T03", "load from yaml", "from yaml import load\nload('x')"),
    row("T03", "allow_pickle", "import numpy as np\nnp.load('x', allow_pickle=True)"),
    row("T02", "read_pickle", "import pandas as pd\npd.read_pickle('x')"),
    row("T02", "joblib elsewhere", "from sklearn.externals import joblib\nimport joblib"),
    row("T03", "a shell", "import subprocess\nsubprocess.run('x', shell=True)"),
]
CHECKS = (
    lint.test_nothing_unpickles,
    lint.test_no_call_runs_code_from_data,
    lint.test_what_can_run_code_is_called_by_its_full_name,
)


@pytest.fixture
def checked(tmp_path, monkeypatch):
    """The checks, of a product whose one file holds this source; whether they find fault."""

    def check(source):
        (tmp_path / "client.py").write_text(source)
        monkeypatch.setattr(lint, "ROOT", tmp_path)
        monkeypatch.setattr(lint, "FILES", ["client.py"])
        for found in (lint._tree, lint._imports, lint._calls):
            found.cache_clear()
        try:
            for one in CHECKS:
                one()
        except AssertionError:
            return True
        finally:
            for found in (lint._tree, lint._imports, lint._calls):
                found.cache_clear()
        return False

    return check


@pytest.mark.parametrize("source", WAYS)
def test_a_way_to_run_code_from_data_is_found(checked, source):
    assert checked(source)


@pytest.mark.row("T03")
def test_the_safe_ways_are_left_alone(checked):
    safe = "import torch, json\ntorch.load('x', weights_only=True)\njson.load(open('x'))"
    assert not checked(safe)
