title="compiling nats-server 2.15.2" took="20 to 60 s"
check() { need_go; }
make_it() {
  go_settings
  go_build -ldflags '-s -w' github.com/nats-io/nats-server/v2
}
try_it() { "$new/bin/nats-server" --version | grep -F 'v2.15.2'; }
