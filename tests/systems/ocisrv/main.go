// Command ocisrv is an OCI registry in memory, of three characters that products have:
//
//	conforming   referrers, OCI-Subject, filters; a tag can be moved
//	immutable    the same, and a tag is written once
//	sloppy       referrers without filter, and any digest or manifest is taken
//
// The first two are ociregistry's, the third is go-containerregistry's.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	kind := flag.String("kind", "conforming", "conforming, immutable or sloppy")
	addr := flag.String("addr", "127.0.0.1:0", "where to listen")
	flag.Parse()

	var handler http.Handler
	switch *kind {
	case "conforming":
		handler = ociserver.New(ocimem.New(), nil)
	case "immutable":
		handler = ociserver.New(ocimem.NewWithConfig(&ocimem.Config{ImmutableTags: true}), nil)
	case "sloppy":
		handler = registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(os.Stderr, "", 0)))
	default:
		fmt.Fprintf(os.Stderr, "ocisrv: unknown kind %q\n", *kind)
		os.Exit(2)
	}
	log.Fatal(http.ListenAndServe(*addr, guarded(handler)))
}

// guarded asks for what the environment names, if it names anything: READER and WRITER are the values of Authorization
// that may read, and read and write.
func guarded(next http.Handler) http.Handler {
	reader, writer := os.Getenv("OCISRV_READER"), os.Getenv("OCISRV_WRITER")
	if reader == "" && writer == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := r.Header.Get("Authorization")
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case given != "" && (given == writer || (given == reader && reads)):
			next.ServeHTTP(w, r)
		case given != "" && given == reader:
			refuse(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="ocisrv"`)
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
		}
	})
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, strings.ReplaceAll(message, "\n", " "))
}
