# What the recipes share. Sourced by build.sh, which sets `name` and `src`; a recipe is `<name>/recipe.sh` and defines
#
#   title   what it makes, in a few words
#   took    how long that takes the first time, on two cores
#   check   says on stdout what is missing on this machine, or nothing
#   make_it fills the directory "$new"; its output is the log
#   try_it  runs something of "$new", so that what does not work is not called built
#
# Everything goes below .build/systems/, which is ignored, and into the package managers' own caches.

say() { printf 'systems: %s: %s\n' "$name" "$*" >&2; }

# By content, not by time: a fresh checkout has new times and old contents.
stamp() (
  cd "$systems"
  LC_ALL=C
  find "$name" common.sh -type f ! -name '*.md' | sort | xargs sha256sum | sha256sum | cut -d' ' -f1
)

# One set of Go settings, whatever the caller's: each other set compiles everything once more.
go_settings() {
  export GOFLAGS= GOWORK=off CGO_ENABLED=0
}

# The missing ones of these commands, as a sentence.
need() {
  local command missing=
  for command; do
    command -v "$command" >/dev/null || missing+=" $command"
  done
  if [[ -n $missing ]]; then echo "not in PATH:$missing"; fi
}

need_go() {
  need go
  if ! command -v go >/dev/null; then return; fi
  local version
  version=$(cd "$src" && GOFLAGS= GOWORK=off go env GOVERSION 2>&1) || { echo "go env failed: $version"; return; }
  [[ $version =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge 26 ]] || echo "needs Go 1.26 or later, and this is $version"
}

# go_build FLAGS… PACKAGE: one command of the module beside the recipe, into $new/bin.
go_build() {
  mkdir -p "$new/bin"
  (cd "$src" && exec go build -v -mod=readonly -buildvcs=false -o "$new/bin/" "$@")
}

# A virtual environment with exactly the packages of requirements.txt, checked by their hashes.
python_venv() {
  python3 -m venv "$new/venv"
  "$new/venv/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --no-deps --require-hashes \
    --requirement "$src/requirements.txt"
}

need_python() {
  need python3
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || echo "needs Python 3.10 or later"
  python3 -c 'import venv, ensurepip' 2>/dev/null || echo "needs Python's venv (Debian: python3-venv)"
}
