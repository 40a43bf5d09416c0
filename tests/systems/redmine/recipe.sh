title="unpacking Debian's Redmine 5.0 and setting up its database" took="a minute"

# Nothing is installed on the machine: apt-get works on lists and a status of its own, in which no package is there, and
# what it downloads is unpacked into a folder. That folder is then entered in a namespace of its own (see enter).
check() {
  need apt-get dpkg-deb unshare sha256sum
  [[ $(. /etc/os-release 2>/dev/null && echo "${ID-} ${VERSION_ID-}") == 'debian 12' ]] ||
    { echo "its packages are those of Debian 12"; return; }
  unshare --user --map-root-user --mount true 2>/dev/null || echo "user namespaces are not allowed here"
}

make_it() {
  local apt=$new/apt root=$new/root
  mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$root"
  : >"$apt/status"
  cat >"$apt/conf" <<END
Dir::State::status "$apt/status";
Dir::State::lists "$apt/lists";
Dir::State::extended_states "$apt/extended";
Dir::Cache "$apt";
Dir::Cache::archives "$apt/archives";
Dir::Log "$apt";
Dpkg::Use-Pty "false";
Debug::NoLocking "true";
APT::Sandbox::User "";
APT::Install-Recommends "false";
END
  export APT_CONFIG=$apt/conf
  echo "downloading lists"
  apt-get -q update
  echo "downloading packages"
  apt-get -q -y --download-only install redmine=5.0.* redmine-sqlite ruby-webrick dash
  unset APT_CONFIG
  echo "unpacking"
  local package
  for package in "$apt"/archives/*.deb; do
    dpkg-deb -x "$package" "$root"
  done
  rm -rf "$apt" "${root:?}/usr/share/doc" "$root/usr/share/man" "$root/usr/share/fonts"

  # What the packages' own scripts would have done.
  mkdir -p "$root"/{dev,tmp,data,root,var/lib/redmine}
  ln -s /data "$root/var/lib/redmine/default"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
  echo 'root:x:0:' >"$root/etc/group"
  # Bundler takes a gem whose folder is missing for a deleted one.
  local gem
  for gem in "$root"/usr/share/rubygems-integration/*/specifications/*.gemspec \
    "$root"/usr/lib/*/rubygems-integration/*/specifications/*.gemspec; do
    mkdir -p "$(dirname "$gem")/../gems/$(basename "$gem" .gemspec)"
  done

  local data=$new/template
  mkdir -p "$data"/{config,log,tmp/cache,files,public/plugin_assets}
  printf 'production:\n  adapter: sqlite3\n  database: /data/redmine.db\n  encoding: utf8\n  timeout: 15000\n' \
    >"$data/config/database.yml"
  head -c 32 /dev/urandom | sha256sum | cut -d' ' -f1 >"$data/config/secret_key.txt"
  mkdir -p "$root/etc/redmine"
  ln -sfn /data/config "$root/etc/redmine/default"
  cp "$src/enter" "$new/enter"
  cp "$src/seed.rb" "$data/seed.rb"
  inside() {
    env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 RAILS_ENV=production REDMINE_LANG=en \
      SCHEMA=/dev/null "$new/enter" "$root" "$data" "$@"
  }
  inside bundle install --local --quiet
  echo "database"
  inside bundle exec rake db:migrate
  echo "default data"
  inside bundle exec rake redmine:load_default_data
  inside bundle exec rails runner /data/seed.rb
  rm -rf "$data/seed.rb" "$data"/log/* "$data"/tmp/cache/*
}

try_it() { [[ -s $new/template/redmine.db ]] && "$new/enter" "$new/root" "$new/template" /usr/bin/ruby --version; }
