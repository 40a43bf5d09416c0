#!/usr/bin/env bash
# Builds .build/controlplane/controlplane and its kubectl symlink at the root of the
# repository, if they are missing or older than the sources. Silent if there is nothing
# to do. May run several times at once: the later ones wait and find the work done.
set -euo pipefail
unset CDPATH

src=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
out=$(cd "$src/../.." && pwd -P)/.build/controlplane
kubernetes=1.36.3 # as in go.mod
go_minor=26       # as in go.mod: go 1.26

say() { printf 'controlplane: %s\n' "$*" >&2; }
die() {
  say "$@"
  exit 1
}

# By content, not by time: a fresh checkout has new times and old contents.
stamp() (
  cd "$src"
  LC_ALL=C
  { command -v sha256sum >/dev/null && sha256sum ./*.go go.mod go.sum build.sh || shasum -a 256 ./*.go go.mod go.sum build.sh; } | cut -d' ' -f1,3-
)
up_to_date() {
  [[ -x $out/controlplane && -L $out/kubectl && -f $out/stamp && $(<"$out/stamp") == "$wanted" ]]
}

wanted=$(stamp)
up_to_date && exit 0

command -v go >/dev/null ||
  die "the test control plane needs Go 1.$go_minor or later, and there is no go in PATH: install it from https://go.dev/dl/"
# One set of settings, whatever the caller's: each other set compiles everything once more.
# No cgo: no C compiler is needed, and the binary runs on any Linux.
export CGO_ENABLED=0 GOFLAGS= GOWORK=off
version=$(cd "$src" && go env GOVERSION 2>&1) || die "go env failed: $version"
[[ $version =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge $go_minor ]] ||
  die "the test control plane needs Go 1.$go_minor or later, and $(command -v go) is $version: install a newer one from https://go.dev/dl/, or unset GOTOOLCHAIN=local so that go gets one itself"

mkdir -p "$out"
if command -v flock >/dev/null; then
  exec 9>"$out/lock"
  if ! flock -n 9; then
    say "another build is running, waiting for it"
    flock 9
  fi
  wanted=$(stamp)
  up_to_date && exit 0
  rm -f "$out"/.new.* # of builds that were killed
fi

new=$out/.new.$$
log=$new.log
build=
trap '[[ -z $build ]] || kill "$build" 2>/dev/null || true; rm -f "$new" "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

version_flags="-X k8s.io/component-base/version.gitVersion=v$kubernetes"
version_flags+=" -X k8s.io/component-base/version.gitMajor=${kubernetes%%.*}"
minor=${kubernetes#*.}
version_flags+=" -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
version_flags+=" -X k8s.io/client-go/pkg/version.gitVersion=v$kubernetes"

say "building Kubernetes $kubernetes into $out"
say "the first time takes about 5 to 10 minutes on 2 cores, later times a few seconds to a minute"
SECONDS=0
(cd "$src" && exec go build -v -mod=readonly -buildvcs=false -ldflags "-s -w $version_flags" -o "$new" .) >"$log" 2>&1 9>&- &
build=$!
next=20
while kill -0 "$build" 2>/dev/null; do
  sleep 1 9>&-
  if ((SECONDS >= next)); then
    next=$((SECONDS + 20))
    say "$SECONDS s, $(grep -c -v '^go: ' "$log" || true) packages compiled; now: $(tail -n 1 "$log")"
  fi
done
if ! wait "$build"; then
  build=
  say "the build failed after $SECONDS s. If modules could not be downloaded, check the network and go env GOPROXY. The end of its output:"
  tail -n 30 "$log" >&2
  exit 1
fi
build=
[[ $("$new" version) == *"v$kubernetes" ]] || die "the new binary does not run or has the wrong version: $("$new" version 2>&1)"

rm -f "$out/stamp" # from here on until the new stamp is there, nothing counts as up to date
mv -f "$new" "$out/controlplane"
ln -sfn controlplane "$out/kubectl"
printf '%s\n' "$wanted" >"$new"
mv -f "$new" "$out/stamp"
say "built in $SECONDS s"
