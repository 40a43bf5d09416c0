title="compiling Helm 4.2.4" took="1 to 3 minutes"
check() { need_go; }
make_it() {
  go_settings
  # As the control plane has them, so that the packages of both are compiled once.
  go_build -ldflags '-s -w' helm.sh/helm/v4/cmd/helm
}
try_it() { "$new/bin/helm" version; }
