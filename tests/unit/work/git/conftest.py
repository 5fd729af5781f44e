from pathlib import Path

import pytest

from pushpals.testing.repos import Cloned, make_cloned
from pushpals.work.git.remotes import Remote, parse_remote
from pushpals.work.git.repo import BareRepo
from pushpals.work.git.runner import Git


@pytest.fixture
async def git() -> Git:
    return await Git.find()


@pytest.fixture
async def cache(tmp_path: Path) -> BareRepo:
    return await BareRepo.init(tmp_path / "cache.git")


@pytest.fixture
def cloned(tmp_path: Path) -> Cloned:
    return make_cloned(tmp_path, {"README.md": "# Example\n", "src/app.py": "x = 1\n"})


@pytest.fixture
def remote(cloned: Cloned) -> Remote:
    return parse_remote(cloned.upstream.path)
