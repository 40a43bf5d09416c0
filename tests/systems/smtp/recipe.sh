title="installing aiosmtpd 1.4.6" took="10 s"
check() {
  need_python
  need openssl
}
make_it() {
  python_venv
  # For STARTTLS on 127.0.0.1. Made here, since a key does not belong into a repository.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -addext 'basicConstraints=critical,CA:FALSE' \
    -keyout "$new/key.pem" -out "$new/certificate.pem"
}
try_it() { "$new/venv/bin/python" -c 'import aiosmtpd; assert aiosmtpd.__version__ == "1.4.6"'; }
