// Command controlplane is a real Kubernetes control plane for tests, in one binary:
// kube-apiserver on an embedded etcd, the controllers of kube-controller-manager
// that a test can observe, and kubectl.
//
//	controlplane serve --ephemeral      start a server on a free port
//	controlplane kubectl ARGS...        kubectl (also when the binary is called "kubectl")
//
// It exists because a fake API server does not have what an operator depends on:
// server-side apply conflicts, CEL rules, RBAC, watch expiry, garbage collection.
// One process and one binary, because a test must be able to start, stop and lose
// a server without leaving anything behind.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/client-go/pkg/version"
)

const usage = `A real Kubernetes control plane for tests, in one process.

  controlplane serve (--ephemeral | --dir DIR) [flags]   start etcd, kube-apiserver and controllers
  controlplane kubectl ARGS...                           kubectl (or call the binary "kubectl")
  controlplane version                                   the Kubernetes version built in

"controlplane serve --help" lists the flags of serve.
`

// console is the process's own stderr: serve points os.Stderr at its log file.
var console = os.Stderr

func main() {
	if filepath.Base(os.Args[0]) == "kubectl" {
		kubectl()
		return
	}
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code: 0 done, 1 failed, 2 used wrongly.
func run(args []string) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "serve":
		err := serveCommand(args[1:])
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, errUsage):
			fmt.Fprintf(console, "controlplane: %v\nTry \"controlplane serve --help\".\n", err)
			return 2
		}
		fmt.Fprintln(console, "controlplane:", err)
		return 1
	case "kubectl":
		os.Args = append([]string{"kubectl"}, args[1:]...) // kubectl's commands read os.Args
		kubectl()
		return 0
	case "version", "--version":
		fmt.Println("controlplane: Kubernetes", version.Get().GitVersion)
		return 0
	case "help", "-h", "--help":
		return printUsage(os.Stdout, 0)
	case "":
		return printUsage(console, 2)
	}
	fmt.Fprintf(console, "controlplane: unknown command %q\n\n", command)
	return printUsage(console, 2)
}

func printUsage(w io.Writer, code int) int {
	fmt.Fprint(w, usage)
	return code
}
