# The web interface is a program of its own in another language; without `builtinassets` the server looks for it on disk,
# and answers everything that machines ask without it. Nor is any cloud's service discovery compiled in.
title="compiling Prometheus 3.16.0 and promtool" took="8 minutes"
check() { need_go; }
make_it() {
  go_settings
  local package
  for package in promtool prometheus; do
    go_build -tags remove_all_sd -ldflags '-s -w -X github.com/prometheus/common/version.Version=3.16.0' \
      "github.com/prometheus/prometheus/cmd/$package"
  done
}
try_it() {
  "$new/bin/prometheus" --version | grep -F 'version 3.16.0' && "$new/bin/promtool" --version | grep -F 'version 3.16.0'
}
