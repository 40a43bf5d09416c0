title="compiling versitygw 1.8.0, an S3 server" took="2 minutes"
check() { need_go; }
make_it() {
  go_settings
  go_build -ldflags '-s -w -X main.Version=1.8.0' github.com/versity/versitygw/cmd/versitygw
}
try_it() { "$new/bin/versitygw" --version; }
