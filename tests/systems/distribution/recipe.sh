title="compiling distribution 3.1.2, a registry without referrers" took="2 to 3 minutes"
check() { need_go; }
make_it() {
  go_settings
  go_build -ldflags '-s -w' github.com/distribution/distribution/v3/cmd/registry
}
try_it() { "$new/bin/registry" --version; }
