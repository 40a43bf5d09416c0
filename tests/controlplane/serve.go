package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"
)

const (
	readyLimit = 2 * time.Minute  // to become ready
	stopLimit  = 10 * time.Second // to stop; then the process just leaves
)

// defaultControllers are those whose effects a namespaced operator or its tests can see.
// Not the rest: nothing here runs a Pod, and each costs memory and noise in the audit log.
const defaultControllers = "namespace-controller,garbage-collector-controller," +
	"serviceaccount-controller,root-ca-certificate-publisher-controller," + // no Pod is admitted without
	"clusterrole-aggregation-controller," + // without it admin, edit and view are empty
	"deployment-controller,replicaset-controller"

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/readyz*", "/healthz*", "/livez*"]
- level: Metadata
`

var errUsage = errors.New("usage")

type stringList []string

func (s *stringList) String() string     { return strings.Join(*s, " ") }
func (s *stringList) Set(v string) error { *s = append(*s, v); return nil }

type config struct {
	dir, kubeconfig, logFile, auditLog, controllers string
	ephemeral, audit, lifeline, fsync               bool
	port                                            int
	apiFlags, kcmFlags                              stringList
}

func parseConfig(args []string) (*config, error) {
	c := &config{}
	fs := flag.NewFlagSet("controlplane serve", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // it would print all flags after every mistake
	fs.StringVar(&c.dir, "dir", "", "keep all data in this `directory`; start again on it to find the data again")
	fs.BoolVar(&c.ephemeral, "ephemeral", false, "keep data in a temporary directory, removed at the end")
	fs.IntVar(&c.port, "port", 0, "`port` on 127.0.0.1 (default a free one)")
	fs.StringVar(&c.kubeconfig, "kubeconfig", "", "write the administrator's kubeconfig to this `file` once ready (default DIR/kubeconfig)")
	fs.BoolVar(&c.lifeline, "stdin-lifeline", false, "stop when stdin ends, so that the server cannot outlive the process that holds the other end")
	fs.BoolVar(&c.audit, "audit", false, "write an audit log at level Metadata")
	fs.StringVar(&c.auditLog, "audit-log", "", "the audit log's `file`; implies --audit (default DIR/audit.log)")
	fs.StringVar(&c.logFile, "log", "", "the servers' log `file`, - for stderr (default DIR/server.log)")
	fs.StringVar(&c.controllers, "controllers", defaultControllers, "comma-separated `list` of controllers to run; * for all, empty for none")
	fs.Var(&c.apiFlags, "api", "a further `flag` of kube-apiserver, as in --api=--v=4; may be repeated")
	fs.Var(&c.kcmFlags, "kcm", "a further `flag` of kube-controller-manager, as in --kcm=--v=4; may be repeated")
	fs.BoolVar(&c.fsync, "fsync", false, "let etcd wait for the disk; without, data survives a killed process but not a power cut")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print("controlplane serve (--ephemeral | --dir DIR) [flags]\n\n")
		fs.SetOutput(os.Stdout)
		fs.PrintDefaults()
		return nil, err
	case err != nil:
	case fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case c.ephemeral == (c.dir != ""):
		err = errors.New("serve needs either --ephemeral or --dir DIR")
	case c.port < 0 || c.port > 65535:
		err = fmt.Errorf("--port %d is not a port", c.port)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return c, nil
}

// stopRequest is the cause of a context that ended because the server was told to stop;
// any other cause is a failure.
type stopRequest string

func (s stopRequest) Error() string { return string(s) }

// serveCommand runs a server until it is told to stop, and cleans up after it on every
// way out that a process has: the return, the exits inside Kubernetes' code, and a stop
// that hangs.
func serveCommand(args []string) error {
	c, err := parseConfig(args)
	if err != nil {
		return err
	}
	// Once the parent is gone, so may be the readers of stdout and stderr: a line written
	// then must not kill the process before it has cleaned up.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	w, err := openWorkDir(c.dir)
	if err != nil {
		return err
	}
	defer w.release()
	leave := func(code int, why string) {
		fmt.Fprintln(console, "controlplane:", why)
		w.release()
		os.Exit(code)
	}

	ctx, stop := context.WithCancelCause(context.Background())
	go func() {
		stop(stopRequest(fmt.Sprintf("got signal %q", <-signals)))
		leave(1, fmt.Sprintf("got signal %q while stopping", <-signals))
	}()
	if c.lifeline {
		go func() {
			io.Copy(io.Discard, os.Stdin)
			stop(stopRequest("stdin ended"))
		}()
	}
	context.AfterFunc(ctx, func() {
		fmt.Println("STOPPING", context.Cause(ctx))
		time.Sleep(stopLimit)
		leave(1, fmt.Sprintf("not stopped after %s, leaving anyway (%v)", stopLimit, context.Cause(ctx)))
	})
	var told stopRequest
	klog.OsExit = func(code int) { // some controllers exit when they lose the API server
		if errors.As(context.Cause(ctx), &told) {
			code = 0
		}
		leave(code, "a part of Kubernetes ended the process")
	}

	logged, err := redirectLog(c, w)
	if err == nil {
		err = serve(ctx, stop, c, w)
	}
	if errors.As(err, &told) {
		return nil
	}
	if logged != "" {
		err = fmt.Errorf("%w\n%s", err, logTail(logged))
	}
	return err
}

// redirectLog sends what Kubernetes logs to a file. Through the parent's pipe it would
// stop the server as soon as the parent does not read it.
func redirectLog(c *config, w *workDir) (string, error) {
	path := c.logFile
	switch path {
	case "-":
		return "", nil
	case "":
		path = w.file("server.log")
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	os.Stderr = f // klog writes there; the Go runtime and we ourselves still use console
	return path, nil
}

// logTail is the end of the log, for an error: with --ephemeral the file is about to go.
func logTail(path string) string {
	data, _ := os.ReadFile(path)
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return fmt.Sprintf("the end of %s:\n%s", path, bytes.Join(lines[max(0, len(lines)-15):], []byte("\n")))
}

// serve returns why it ended: the cause of ctx, or what failed. The deferred stops run
// from the controllers down to etcd, so that nothing loses what it depends on.
func serve(ctx context.Context, fail context.CancelCauseFunc, c *config, w *workDir) (err error) {
	began := time.Now()
	etcd, etcdURL, err := startEtcd(ctx, w, c.fsync)
	if err != nil {
		return err
	}
	defer within(time.Second, etcd.Close) // what was written stays written without it
	defer func() { fail(err) }()          // ctx ends: the time limit of the stop covers etcd too

	ln, err := listen(ctx, c.port)
	if err != nil {
		return err
	}
	server := "https://" + ln.Addr().String()
	keys, err := ensurePKI(w.file("pki"))
	if err != nil {
		return err
	}
	args, err := apiServerFlags(c, w, keys, etcdURL)
	if err != nil {
		return err
	}
	stopAPI := background("kube-apiserver", fail, func(ctx context.Context) error { return runAPIServer(ctx, args, ln) })
	defer stopAPI(4 * time.Second)

	kubeconfig := c.kubeconfig
	if kubeconfig == "" {
		kubeconfig = w.file("kubeconfig")
	}
	content, err := keys.kubeconfig(server, admin)
	if err != nil {
		return err
	}
	// A client may outlive a restart on the same port; a kubeconfig for another port only misleads.
	if old, err := os.ReadFile(kubeconfig); err == nil && !bytes.Equal(old, content) {
		os.Remove(kubeconfig)
	}
	cl, err := httpClient(content)
	if err != nil {
		return err
	}
	if err := waitFor(ctx, cl, server+"/readyz"); err != nil {
		return err
	}

	if c.controllers != "" {
		own, err := keys.kubeconfig(server, controllers)
		if err != nil {
			return err
		}
		if err := os.WriteFile(w.file("controllers.kubeconfig"), own, 0o600); err != nil {
			return err
		}
		args := append([]string{"--kubeconfig=" + w.file("controllers.kubeconfig"), "--controllers=" + c.controllers,
			"--leader-elect=false", "--secure-port=0", "--root-ca-file=" + keys.path("ca.crt")}, c.kcmFlags...)
		stopControllers := background("kube-controller-manager", fail, func(ctx context.Context) error { return runControllers(ctx, args) })
		defer stopControllers(3 * time.Second)
		if strings.Contains(c.controllers, "*") || strings.Contains(c.controllers, "serviceaccount-controller") {
			// Before that, no Pod is admitted.
			if err := waitFor(ctx, cl, server+"/api/v1/namespaces/default/serviceaccounts/default"); err != nil {
				return err
			}
		}
	}

	if err := os.WriteFile(kubeconfig+".new", content, 0o600); err != nil {
		return err
	}
	if err := os.Rename(kubeconfig+".new", kubeconfig); err != nil {
		return err
	}
	if c.ephemeral {
		defer os.Remove(kubeconfig)
	}
	usr1 := make(chan os.Signal, 1)
	signal.Notify(usr1, syscall.SIGUSR1)
	fmt.Printf("READY server=%s pid=%d seconds=%.2f kubeconfig=%s\n", server, os.Getpid(), time.Since(began).Seconds(), kubeconfig)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-usr1:
			if revision, err := compact(ctx, etcd); err != nil {
				fmt.Printf("COMPACT FAILED revision=%d %v\n", revision, err)
			} else {
				fmt.Printf("COMPACTED revision=%d\n", revision)
			}
		}
	}
}

// listen waits a little for a fixed port: after a restart a connection of the previous
// server, or one that the kernel gave this port in between, may still be closing.
func listen(ctx context.Context, port int) (net.Listener, error) {
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil || port == 0 || ctx.Err() != nil || time.Now().After(limit) {
			return ln, err
		}
	}
}

func apiServerFlags(c *config, w *workDir, keys pki, etcdURL string) ([]string, error) {
	flags := []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + keys.path("server.crt"), "--tls-private-key-file=" + keys.path("server.key"),
		"--client-ca-file=" + keys.path("ca.crt"),
		"--service-cluster-ip-range=10.0.0.0/24",
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + keys.path("sa.key"),
		"--service-account-signing-key-file=" + keys.path("sa.key"),
		"--shutdown-delay-duration=0s",
		"--shutdown-watch-termination-grace-period=1s", // without, a stop waits a minute for clients to end their watches
	}
	if c.audit || c.auditLog != "" {
		policy, log := w.file("audit-policy.yaml"), c.auditLog
		if log == "" {
			log = w.file("audit.log")
		}
		if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
			return nil, err
		}
		// blocking: what a test has done is in the log when the request returns
		flags = append(flags, "--audit-policy-file="+policy, "--audit-log-path="+log, "--audit-log-mode=blocking")
	}
	return append(flags, c.apiFlags...), nil
}

// waitFor waits until url answers 200.
func waitFor(ctx context.Context, cl *http.Client, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyLimit, fmt.Errorf("%s does not answer 200 after %s", url, readyLimit))
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := cl.Do(req); err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
