import os
import subprocess
import sys
from pathlib import Path

import pytest

from k210 import native
from k210.native import NativeError

ANSWER = "int answer(void) { return %d; }\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of built libraries, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "k210" / "native"


def source(folder: Path, text: str) -> Path:
    """The file code.c in a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / "code.c"
    path.write_text(text)
    return path


def libraries(cache: Path) -> list[str]:
    return sorted(each.name for each in cache.iterdir() if each.suffix != ".lock")


def test_code_is_built_once_and_kept_in_the_users_cache(
    cache: Path, tmp_path: Path
) -> None:
    first, second = (source(tmp_path / name, ANSWER % 42) for name in "ab")
    assert native.load(first).answer() == 42
    (library,) = libraries(cache)
    built = (cache / library).stat().st_mtime_ns
    assert native.load(second).answer() == 42
    assert libraries(cache) == [library]
    assert (cache / library).stat().st_mtime_ns == built


def test_edited_code_is_built_anew(cache: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        path = source(tmp_path / str(number), ANSWER % number)
        assert native.load(path).answer() == number
    assert len(libraries(cache)) == 2


def test_code_that_does_not_compile_is_one_sentence(
    cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(NativeError, match=r"does not build code.c: .*error") as raised:
        native.load(source(tmp_path, "int answer(void) { return nothing; }\n"))
    assert "\n" not in str(raised.value)
    assert not libraries(cache)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written_is_said_so(cache: Path, tmp_path: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(0o500)
    with pytest.raises(NativeError, match="XDG_CACHE_HOME"):
        native.load(source(tmp_path, ANSWER % 3))


def test_a_cache_that_is_no_folder_is_said_so(cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("in the way")
    with pytest.raises(NativeError, match="cannot be built .* XDG_CACHE_HOME"):
        native.load(source(tmp_path, ANSWER % 4))


def test_processes_that_build_at_once_get_the_same_library(
    cache: Path, tmp_path: Path
) -> None:
    path = source(tmp_path, ANSWER % 5)
    code = (
        "import sys; from pathlib import Path; from k210 import native; "
        "print(native.load(Path(sys.argv[1])).answer())"
    )
    command = [sys.executable, "-c", code, str(path)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    assert [each.communicate()[0] for each in running] == ["5\n"] * 3
    assert len(libraries(cache)) == 1
