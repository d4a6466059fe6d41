# Read by scripts/test and scripts/demo: makes .venv beside setup.cfg and installs catdog into it, once.

find_python() {  # prints the first Python that will do; with PYTHON=/path/to/python it is that one or none
  local python candidates=(python3 python3.14 python3.13 python3.12 python3.11)
  [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
  for python in "${candidates[@]}"; do
    if "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  echo "No Python 3.11 or newer with its venv module among ${candidates[*]}: install one (on Debian or Ubuntu" \
    "\`apt install python3 python3-venv\`), or say where it is with PYTHON=/path/to/python." >&2
  return 1
}

venv_works() {  # a half-made .venv, or one whose Python is gone, is made again
  .venv/bin/python -m pip --version >/dev/null 2>&1 &&
    .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'
}

set_up() {  # call it from the repository's root
  local stamp=.venv/installed wanted python
  if ! venv_works; then
    python=$(find_python)
    echo "Making .venv with $("$python" --version) ..." >&2
    rm -f "$stamp"
    "$python" -m venv .venv
  fi
  wanted=$(cksum setup.cfg pyproject.toml)
  if [ "$wanted" != "$(cat "$stamp" 2>/dev/null)" ]; then
    echo "Installing catdog and what it needs into .venv; the first time this takes some minutes ..." >&2
    .venv/bin/python -m pip install --quiet -e '.[dev]'
    echo "$wanted" >"$stamp"
  fi
}
