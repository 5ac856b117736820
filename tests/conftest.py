"""What the tests share: projects in folders of their own, run as a user runs them."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from compiled import FEW, Compiled, Family, compiled
from foreign import run_script

from stages.graph import NAMES

REPOSITORY = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SMALL_KMODELS = Path(__file__).parent / "k210" / "small_kmodels.py"

# A shell that runs the tests in the background has them, and what they start, ignore
# Ctrl-C, which is some tests' subject.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # machines may be busy
)
hypothesis.settings.load_profile("suite")

TINY = """\
project: {name: tiny}
data: {split: {train: 200, validation: 40, test: 60}}
model: {alpha: 0.25}
train: {epochs: 2}
quantize: {method: no_clip, samples: 16}
check: {samples: 60}
"""
"""A project that trains in seconds; it learns next to nothing."""

IMPORTED = """\
project: {name: imported}
data: {kind: synthetic, split: {train: 24, validation: 4, test: 20}}
model: {file: model.tflite}
quantize: {method: no_clip, samples: 16}
export: {samples: 4}
check: {samples: 20}
"""
"""A project that brings its model, `model.tflite` beside the YAML."""


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Locks and ledgers of boards in a folder of this session, children included."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("K210_LOCKS", str(folder / "locks"))
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.delenv("K210_BOARDS", raising=False)
        yield


@dataclass(frozen=True)
class Checkout:
    """A folder with a project, in which the real commands run as child processes."""

    root: Path

    def write(self, name: str, text: str) -> Path:
        """Write a file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def replace(self, old: str, new: str, name: str = "pipeline.yaml") -> None:
        """Edit a file; what is to be replaced must be there."""
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def stage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``python -m stages ARGUMENTS``."""
        return self.run(sys.executable, "-m", "stages", *arguments)

    def doit(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """``doit ARGUMENTS``."""
        return self.run(str(BIN / "doit"), *arguments)

    def run(
        self, *command: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Any command, its output captured."""
        return subprocess.run(
            command,
            cwd=self.root,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Any command, in a session of its own, for tests that kill it."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def outcomes(output: str) -> dict[str, str]:
    """The reporter's lines: stage → "ran", "restored" or "up to date"."""
    found = {}
    for line in output.splitlines():
        for outcome in ("ran", "restored", "up to date", "failed"):
            name, separator, _ = line.partition(f"  {outcome}")
            if separator and " " not in name.strip():
                found[name.strip()] = outcome
    return found


def foretold(output: str) -> dict[str, str]:
    """The lines of ``doit why``: stage → what it says would happen."""
    found = {}
    for line in output.splitlines():
        words = line.split(maxsplit=1)
        if line.startswith("  ") and not line.startswith("   ") and len(words) == 2:
            found[words[0]] = words[1].split(":")[0]
    return found


def make_checkout(root: Path, pipeline: str = TINY) -> Checkout:
    """A folder with the project's dodo.py, doit's settings and a pipeline.yaml."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("dodo.py", "pyproject.toml"):
        shutil.copy2(REPOSITORY / name, root / name)
    checkout = Checkout(root)
    checkout.write("pipeline.yaml", pipeline)
    return checkout


def assert_refused(done: subprocess.CompletedProcess[str], *fragments: str) -> None:
    """One sentence that holds the fragments, status 2, no traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    sentences = [
        line for line in done.stderr.splitlines() if line.startswith("error: ")
    ]
    assert len(sentences) == 1, done.stderr
    for fragment in fragments:
        assert fragment in done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh checkout with the tiny project, nothing run yet."""
    return make_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def deployed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a checkout in which the tiny project has been deployed."""
    checkout = make_checkout(tmp_path_factory.mktemp("deployed") / "checkout")
    done = checkout.doit("deploy")
    assert done.returncode == 0, done.stdout + done.stderr
    return checkout.root


@pytest.fixture
def deployed(deployed_once: Path, tmp_path: Path) -> Checkout:
    """A copy, for this test alone, of a checkout with the tiny project deployed."""
    root = tmp_path / "checkout"
    shutil.copytree(deployed_once, root)
    return Checkout(root)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of models.py, made once."""
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("models.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def imported_once(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a checkout whose project brings its model, run up to the check."""
    checkout = make_checkout(tmp_path_factory.mktemp("imported") / "checkout", IMPORTED)
    shutil.copyfile(models / "plain.tflite", checkout.root / "model.tflite")
    for stage in NAMES[: NAMES.index("report")]:
        done = checkout.stage(stage)
        assert done.returncode == 0, done.stdout + done.stderr
    return checkout.root


@pytest.fixture
def imported(imported_once: Path, tmp_path: Path) -> Checkout:
    """A copy, for this test alone, of a checkout with a brought model, checked."""
    root = tmp_path / "checkout"
    shutil.copytree(imported_once, root)
    return Checkout(root)


@pytest.fixture(scope="session")
def compile_small(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], tuple[bytes, str]]:
    """Compile "residual" or "dilated" in a process of its own.

    Returns the kmodel and what nncase printed.
    """
    folder = tmp_path_factory.mktemp("small_kmodels")

    def run(*arguments: str | Path) -> str:
        command = [sys.executable, SMALL_KMODELS, *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
        return done.stdout.decode()

    def compile_small(name: str) -> tuple[bytes, str]:
        target = folder / f"{name}.kmodel"
        log = run("compile", folder / f"{name}.tflite", target)
        return target.read_bytes(), log

    run("export", folder)
    return compile_small


@pytest.fixture(scope="session")
def few_kmodels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compiled]:
    """A kmodel for every kind of operation, made once: name → what is known of it."""
    folder = tmp_path_factory.mktemp("few_kmodels")
    run_script("zoo_kmodels.py", folder, *FEW)
    return {each.name: each for each in compiled(folder)}


@pytest.fixture(scope="session")
def family_kmodels(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Family], list[Compiled]]:
    """Makes the kmodels of a family of networks, once."""
    root = tmp_path_factory.mktemp("families")

    def make(family: Family) -> list[Compiled]:
        folder = root / "".join(family)
        if not folder.exists():
            run_script("zoo_kmodels.py", folder, *family)
        return list(compiled(folder))

    return make


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., str]:
    """From the artifacts and settings of a report to its page."""
    from report_pages import drawer

    return drawer(tmp_path)
