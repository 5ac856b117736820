#!/bin/sh
# Make .venv with Python 3.10 and the pinned, hashed requirements.
# Does nothing when it has already been made from the same files.
set -eu

venv=.venv
stamp=$venv/.made-from
wanted=$(cat requirements.lock pyproject.toml tools/setup.sh | cksum)

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$venv/bin/python" -c ''; then
    touch "$stamp"
    exit 0
fi

# A candidate counts only if it runs: a pyenv shim on PATH may refuse.
is_python310() {
    "$1" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 10))' 2>/dev/null
}

find_python() {
    for candidate in python3.10 python3 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10*/bin/python; do
        if is_python310 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    if command -v uv >/dev/null; then
        uv python find 3.10 2>/dev/null || { uv python install 3.10 >&2 && uv python find 3.10; }
    fi
}

python=$(find_python || true)
if [ -z "$python" ]; then
    echo "error: no Python 3.10 found, and nncase 1.9 runs on no other;" \
        "get one with your system's packages, \`pyenv install 3.10\`" \
        "or \`uv python install 3.10\`, then run make again" >&2
    exit 2
fi

# A set-up that was killed may have left half a .venv, or one half changed.
rm -f "$stamp"
if ! is_python310 "$venv/bin/python" || ! "$venv/bin/python" -c 'import pip'; then
    rm -rf "$venv"
fi 2>/dev/null
[ -d "$venv" ] || "$python" -m venv "$venv"
echo "setup: installing requirements.lock into $venv (some minutes the first time)"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --require-hashes --requirement requirements.lock
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --no-deps --no-build-isolation --editable .
echo "$wanted" >"$stamp"
