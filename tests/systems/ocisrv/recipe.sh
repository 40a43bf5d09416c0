title="compiling ocisrv, registries with referrers" took="10 s"
check() { need_go; }
make_it() {
  go_settings
  go_build -ldflags '-s -w' .
}
try_it() { [[ $("$new/bin/ocisrv" -kind none 2>&1) == *'unknown kind'* ]]; }
