#!/usr/bin/env bash
# Builds or installs the real servers that adapters are tested against, each into .build/systems/<name>/.
#
#   tests/systems/build.sh            all of them
#   tests/systems/build.sh NAME…      these
#   tests/systems/build.sh --list     their names
#
# Silent where nothing is to be done, else a line every 20 seconds and one at the end. May run several times at once:
# the later ones wait and find the work done. The exit status is that of all; one failure does not stop the others.
set -euo pipefail
unset CDPATH
systems=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
out=$(cd "$systems/../.." && pwd -P)/.build/systems
# The quick ones first, so that a person sees early what does not work.
all=(nats ocisrv smtp sqs kube-score github redmine versitygw distribution prometheus gitea helm gitops)

if [[ ${1-} == --list ]]; then
  printf '%s\n' "${all[@]}"
  exit
fi
(($#)) || set -- "${all[@]}"
for name; do
  [[ -f $systems/$name/recipe.sh ]] || { echo "systems: no such system: $name (there are: ${all[*]})" >&2; exit 2; }
done

# Where something is not built, why is kept beside it; the tests that skip say so.
fail() {
  printf '%s\n' "$*" >"$out/$name.why"
  say "NOT BUILT: $*"
  exit 1
}

build_one() {
  name=$1 src=$systems/$name
  # shellcheck source=/dev/null
  source "$systems/common.sh"
  source "$src/recipe.sh"
  local wanted
  wanted=$(stamp)
  up_to_date() { [[ -f $out/$name/stamp && $(<"$out/$name/stamp") == "$wanted" ]]; }
  up_to_date && exit 0

  mkdir -p "$out"
  if command -v flock >/dev/null; then
    exec 9>"$out/$name.lock"
    if ! flock -n 9; then
      say "another build is running, waiting for it"
      flock 9
    fi
    up_to_date && exit 0
    rm -rf "$out/.new.$name".* # of builds that were killed
  fi
  local missing
  missing=$(check)
  [[ -z $missing ]] || fail "${missing//$'\n'/; }"

  new=$out/.new.$name.$$ log=$out/$name.log job=
  trap '[[ -z $job ]] || kill "$job" 2>/dev/null || true; rm -rf "$new"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  mkdir -p "$new"
  say "$title; the first time takes $took"
  SECONDS=0
  (set -e; make_it) >"$log" 2>&1 </dev/null 9>&- &
  job=$!
  local next=20
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.2 9>&-
    if ((SECONDS >= next)); then
      next=$((SECONDS + 20))
      say "$SECONDS s; now: $(tail -n 1 "$log" | cut -c1-100)"
    fi
  done
  if ! wait "$job"; then
    job=
    tail -n 25 "$log" >&2
    fail "its build failed after $SECONDS s; the whole output is in .build/systems/$name.log"
  fi
  job=
  local tried
  tried=$(try_it 2>&1) || fail "it was built and does not run: $tried"
  printf '%s\n' "$wanted" >"$new/stamp"
  rm -rf "${out:?}/$name" "$out/$name.why"
  mv "$new" "$out/$name"
  say "built in $SECONDS s, $(du -sh "$out/$name" | cut -f1)"
}

failed=()
for name; do
  # A plain subshell in a condition would run without -e.
  set +e
  (set -e; build_one "$name")
  status=$?
  set -e
  ((status < 128)) || exit "$status"
  ((status == 0)) || failed+=("$name")
done
if ((${#failed[@]})); then
  echo "systems: not built: ${failed[*]}" >&2
  exit 1
fi
