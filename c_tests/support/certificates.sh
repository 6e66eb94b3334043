#!/bin/sh
# certificates.sh DIR: an authority (ca), a server of 127.0.0.1 and other.test
# (server), a client (client), and an authority that signed neither (stranger).
set -eu
cd "$1"

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }
authority() {
  key "$1"
  openssl req -new -x509 -key "$1.key" -subj "/CN=$1" -days 2 -out "$1.pem"
}
signed() {
  key "$1"
  openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
  echo "subjectAltName=IP:127.0.0.1,DNS:other.test" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
    -extfile "$1.ext" -out "$1.pem"
}

authority ca
authority stranger
signed server
signed client
