#!/usr/bin/env bash
# Checks the test control plane itself: starting, stopping, losing the parent, restarting,
# several at once. About a minute. Usage: tests/controlplane/smoke.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
"$here/build.sh"
bin=$(cd "$here/../.." && pwd -P)/.build/controlplane
tmp=$(mktemp -d)
export TMPDIR=$tmp/tmp # --ephemeral directories go here, so that leftovers show
mkdir "$TMPDIR"
unset KUBECONFIG
started=()
cleanup() {
  local code=$?
  for pid in "${started[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  ((code == 0)) || { echo "FAILED (exit code $code); outputs:"; tail -n 20 "$tmp"/*.out "$tmp"/*.err; }
  rm -rf "$tmp"
}
trap cleanup EXIT

step() { printf '%4d s  %s\n' "$SECONDS" "$*"; }
SECONDS=0
fail() {
  echo "FAIL: $*" >&2
  exit 1
}
ready() { # NAME PID: waits for READY
  for _ in $(seq 600); do
    grep -q '^READY ' "$tmp/$1.out" && return
    kill -0 "$2" 2>/dev/null || fail "$1 ended before it was ready"
    sleep 0.1
  done
  fail "$1 is not ready after 60 s"
}
launch() { # NAME FLAGS...: serves in the background, sets $pid
  local name=$1
  shift
  "$bin/controlplane" serve "$@" >"$tmp/$name.out" 2>"$tmp/$name.err" </dev/null &
  pid=$!
  started+=("$pid")
}
field() { sed -n "s/^READY.* $2=\([^ ]*\).*/\1/p" "$tmp/$1.out"; }
k() { # NAME ARGS...: kubectl for the server NAME
  local name=$1
  shift
  "$bin/kubectl" --kubeconfig "$(field "$name" kubeconfig)" "$@"
}
eventually() { # SECONDS COMMAND...
  local tries=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    ((tries-- > 0)) || fail "not in time: $*"
    sleep 0.1
  done
}
gone() { ! kill -0 "$1" 2>/dev/null; }
stopped() { # PID SECONDS: was told to stop, must end with 0 in time
  local code=0 t0
  t0=$(date +%s%N)
  wait "$1" || code=$?
  ((code == 0)) || fail "exit code $code instead of 0"
  ((($(date +%s%N) - t0) / 1000000 < $2 * 1000)) || fail "took longer than $2 s to stop"
}
no_leftovers() { [[ -z $(ls -A "$TMPDIR") ]] || fail "left over: $(ls -A "$TMPDIR")"; }

launch a --dir "$tmp/a" --audit
a=$pid
ready a "$a"
step "ready: $(head -1 "$tmp/a.out"), $(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$a/status") MB"
[[ $("$bin/kubectl" version --client | head -1) == "Client Version: v1.36.3" ]]
k a version | grep -qx "Server Version: v1.36.3"
k a get namespace default >/dev/null
k a create namespace one >/dev/null
k a -n one create configmap owner >/dev/null
uid=$(k a -n one get configmap owner -o 'jsonpath={.metadata.uid}')
k a -n one apply --server-side -f - >/dev/null <<YAML
{apiVersion: v1, kind: ConfigMap, metadata: {name: owned, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: $uid}]}}
YAML
k a -n one create deployment web --image=example.invalid/web --replicas=2 >/dev/null
eventually 20 eval '(($(k a -n one get pods -o name | wc -l) == 2))'
k a -n one delete configmap owner >/dev/null
eventually 20 eval '! k a -n one get configmap owned'
eventually 20 k a auth can-i list pods --as=someone --as-group=system:masters
eventually 20 eval '[[ $(k a get clusterrole view -o "jsonpath={.rules[0].verbs}") ]]'
k a delete namespace one --timeout=60s >/dev/null
step "garbage collection, deployments, aggregated roles, namespace deletion"
audited() { grep -q "\"verb\":\"$2\".*\"username\":\"$1\".*\"resource\":\"$3\"" "$tmp/a/audit.log" || fail "not in the audit log: $*"; }
audited admin create namespaces
audited system:kube-controller-manager create serviceaccounts
kill -USR1 "$a"
eventually 5 grep -q '^COMPACTED revision=' "$tmp/a.out"
step "audit log, compaction"

launch second --dir "$tmp/a"
code=0
wait "$pid" || code=$?
((code == 1)) && grep -q "in use by another controlplane (process $a)" "$tmp/second.err"
k a create configmap kept >/dev/null
cp "$tmp/a/kubeconfig" "$tmp/kubeconfig"
server=$(field a server)
for _ in {1..10}; do # open watches must not delay the stop
  k a get namespaces --watch >/dev/null 2>&1 &
  started+=("$!")
done
sleep 1
kill -TERM "$a"
stopped "$a" 4
cmp "$tmp/a/kubeconfig" "$tmp/kubeconfig"
launch a --dir "$tmp/a" --port "${server##*:}"
a=$pid
ready a "$a"
"$bin/kubectl" --kubeconfig "$tmp/kubeconfig" get configmap kept >/dev/null
kill -9 "$a"
wait "$a" 2>/dev/null || true
launch a --dir "$tmp/a" --port "${server##*:}"
a=$pid
ready a "$a"
"$bin/kubectl" --kubeconfig "$tmp/kubeconfig" get configmap kept >/dev/null
step "restart on the same directory and port, after SIGTERM and after SIGKILL"

launch b --ephemeral
b=$pid
launch c --ephemeral
c=$pid
ready b "$b"
ready c "$c"
k b create namespace only-b >/dev/null
k c get namespace only-b >/dev/null 2>&1 && fail "two servers share their data"
"$bin/kubectl" --kubeconfig "$tmp/kubeconfig" get --raw /readyz >/dev/null
step "three side by side: $(field b seconds) and $(field c seconds) s"
kill -TERM "$a" "$b" "$c"
stopped "$a" 6
stopped "$b" 6
stopped "$c" 6
no_leftovers
step "all stopped"

# The parent holds the other end of the server's stdin and is killed: at once, while the
# server starts, and when it is ready. Its stdout and stderr are pipes that break too.
for after in 0.1 0.5 1 1.5 2 ready; do
  rm -f "$tmp/lifeline"
  mkfifo "$tmp/lifeline" "$tmp/pid.$after"
  : >"$tmp/orphan.out"
  bash -c '
    "$1" serve --ephemeral --stdin-lifeline <"$2" > >(exec cat >"$3") 2> >(exec cat) & echo $! >"$4"
    exec 8>"$2"; exec sleep 600' parent "$bin/controlplane" "$tmp/lifeline" "$tmp/orphan.out" "$tmp/pid.$after" &
  parent=$!
  orphan=$(cat "$tmp/pid.$after")
  started+=("$parent" "$orphan")
  if [[ $after == ready ]]; then ready orphan "$orphan"; else sleep "$after"; fi
  kill -9 "$parent"
  wait "$parent" 2>/dev/null || true
  eventually 9 gone "$orphan"
  no_leftovers
done
step "no orphan and no leftover after the parent was killed"

launch orphan --ephemeral
ready orphan "$pid"
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
touch -d '2 minutes ago' "$TMPDIR"/*/lock
long=$tmp/$(printf 'long%.0s' {1..30})
launch d --dir "$long"
d=$pid
launch e --ephemeral
e=$pid
ready d "$d"
ready e "$e"
k d get namespace default >/dev/null
[[ $(find "$TMPDIR" -mindepth 1 -maxdepth 1 | wc -l) == 1 ]] || fail "the directory of the killed server is still there"
kill -TERM "$d" "$e"
stopped "$d" 6
stopped "$e" 6
no_leftovers
step "a directory with a path of ${#long} bytes, and what SIGKILL left was removed by the next server"

for flag in --api=--no-such-flag --kcm=--no-such-flag --api=--etcd-prefix; do
  launch bad --ephemeral "$flag"
  code=0
  wait "$pid" || code=$?
  ((code == 1)) && grep -q 'flag' "$tmp/bad.err" || fail "$flag: exit code $code, $(cat "$tmp/bad.err")"
done
launch bad --ephemeral surplus
code=0
wait "$pid" || code=$?
((code == 2)) && grep -q surplus "$tmp/bad.err"
no_leftovers
step "wrong flags give an error and leave nothing"
echo PASS
