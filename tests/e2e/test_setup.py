"""``make setup``: which Python it takes, and that it installs only what it must.

The Pythons here are shell scripts that keep a list of what they are asked, answer
questions through the real one, and only pretend to make a .venv and to install.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

PYTHON = """\
#!/bin/sh
echo "$*" >>{calls}
case "$*" in
"-m venv .venv") mkdir -p .venv/bin && cp {self} .venv/bin/python ;;
"-m pip"*) test ! -e offline ;;
*) exec {real} "$@" ;;
esac
"""
TOOLS = ("cat", "cksum", "cp", "mkdir", "rm", "sh", "test", "touch")


class Tree:
    """A folder with what ``tools/setup.sh`` looks at, and a PATH of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "path"
        self.calls = root / "calls"
        for folder in (self.path, root / "home", root / "tools"):
            folder.mkdir()
        for name in ("requirements.lock", "pyproject.toml", "tools/setup.sh"):
            shutil.copyfile(REPOSITORY / name, root / name)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.path / tool).symlink_to(found)

    def script(self, path: str, text: str) -> None:
        """An executable file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)

    def python310(self, path: str) -> None:
        """A Python 3.10 of the kind above."""
        quoted = {
            "calls": self.calls,
            "self": self.root / path,
            "real": sys.executable,
        }
        self.script(
            path, PYTHON.format(**{k: shlex.quote(str(v)) for k, v in quoted.items()})
        )

    def set_up(self) -> subprocess.CompletedProcess[str]:
        """``sh tools/setup.sh``, with nothing but this tree's PATH and HOME."""
        self.calls.write_text("")
        return subprocess.run(
            ["/bin/sh", "tools/setup.sh"],
            cwd=self.root,
            env={"PATH": str(self.path), "HOME": str(self.root / "home")},
            capture_output=True,
            text=True,
            check=False,
        )

    def actions(self) -> list[str]:
        """What the Pythons were asked to do: "venv" and "pip"."""
        asked = [line.split() for line in self.calls.read_text().splitlines()]
        return [words[1] for words in asked if words[0] == "-m"]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_without_python_310_it_says_so(tree: Tree) -> None:
    done = tree.set_up()
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Python 3.10 found")
    assert len(done.stderr.splitlines()) == 1
    assert not (tree.root / ".venv").exists()


def test_pythons_that_refuse_or_are_others_are_passed_over(tree: Tree) -> None:
    tree.script("path/python3.10", "#!/bin/sh\necho 'pyenv: not found' >&2\nexit 127\n")
    tree.script("path/python3", "#!/bin/sh\nexit 1\n")
    assert tree.set_up().returncode == 2
    tree.python310("home/.pyenv/versions/3.10.7/bin/python")
    done = tree.set_up()
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert tree.actions() == ["venv", "pip", "pip"]


def test_nothing_is_installed_twice(tree: Tree) -> None:
    tree.python310("path/python3.10")
    assert tree.set_up().returncode == 0
    done = tree.set_up()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert tree.actions() == []


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_other_requirements_are_installed_into_the_same_venv(
    tree: Tree, name: str
) -> None:
    tree.python310("path/python3.10")
    tree.set_up()
    (tree.root / name).write_text("# other\n")
    assert tree.set_up().returncode == 0
    assert tree.actions() == ["pip", "pip"]


def test_an_installation_that_failed_is_begun_again(tree: Tree) -> None:
    tree.python310("path/python3.10")
    tree.set_up()
    lock = tree.root / "requirements.lock"
    former = lock.read_text()
    lock.write_text("# other\n")
    (tree.root / "offline").touch()
    assert tree.set_up().returncode != 0
    (tree.root / "offline").unlink()
    lock.write_text(former)  # who knows what of the other is installed by now
    assert tree.set_up().returncode == 0
    assert tree.actions() == ["pip", "pip"]


@pytest.mark.parametrize(
    "python",
    [
        "#!/bin/sh\nexit 1\n",
        f'#!/bin/sh\ncase $2 in *pip) exit 1;; esac\nexec {sys.executable} "$@"\n',
    ],
    ids=["without a Python", "without pip"],
)
def test_half_a_venv_is_made_anew(tree: Tree, python: str) -> None:
    tree.python310("path/python3.10")
    tree.script(".venv/bin/python", python)
    assert tree.set_up().returncode == 0
    assert tree.actions() == ["venv", "pip", "pip"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_clone_sets_itself_up_once(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    command = ["git", "clone", "--quiet", str(REPOSITORY), str(clone)]
    subprocess.run(command, check=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = make("setup")
    assert done.returncode == 0, done.stdout + done.stderr
    stamp = (clone / ".venv/.made-from").stat().st_mtime_ns
    again = make("setup")
    assert again.returncode == 0, again.stderr
    assert "installing" not in again.stdout
    assert (clone / ".venv/.made-from").stat().st_mtime_ns == stamp
    done = subprocess.run(
        [str(clone / ".venv/bin/doit"), "list"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "deploy" in done.stdout
