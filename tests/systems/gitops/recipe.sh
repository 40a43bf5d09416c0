title="compiling what Flux and Argo CD judge objects with" took="2 to 4 minutes"
check() { need_go; }
make_it() {
  go_settings
  go_build -ldflags '-s -w' .
}
try_it() { echo '[]' | "$new/bin/gitops" health "$src/../../../manifests/argocd/argocd-cm.yaml" "$src/../../../manifests/flux/health-checks.yaml"; }
