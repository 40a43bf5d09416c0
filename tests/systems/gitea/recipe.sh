title="compiling Gitea 1.26.0" took="7 to 10 minutes"
check() {
  need_go
  need git gcc
}
make_it() {
  go_settings
  export CGO_ENABLED=1 # its SQLite is C
  go_build -tags 'sqlite sqlite_unlock_notify' -ldflags '-s -w -X main.Version=1.26.0' code.gitea.io/gitea
  # It reads its templates at run time. A copy, so that the module cache may be cleaned.
  local module
  module=$(cd "$src" && go list -m -f '{{.Dir}}' code.gitea.io/gitea)
  mkdir "$new/static"
  cp -R "$module/templates" "$module/options" "$module/public" "$module/LICENSE" "$new/static/"
  chmod -R u+w "$new/static"
}
try_it() { GITEA_WORK_DIR=$new "$new/bin/gitea" --version | grep -F '1.26.0'; }
