title="compiling kube-score 1.20.0" took="20 to 60 s"
check() { need_go; }
make_it() {
  go_settings
  go_build -ldflags '-s -w' github.com/zegl/kube-score/cmd/kube-score
}
try_it() { "$new/bin/kube-score" version; }
