package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apioptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
)

// background runs a part of the server until stop is called. A part that ends before
// fails the whole server.
func background(name string, fail context.CancelCauseFunc, run func(context.Context) error) (stop func(limit time.Duration)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := run(ctx); ctx.Err() == nil {
			fail(fmt.Errorf("%s ended: %v", name, err))
		}
	}()
	return func(limit time.Duration) {
		cancel()
		within(limit, func() { <-done })
	}
}

// within waits for f, but no longer than limit: it is for the end of the process, when
// leaving late is worse than leaving untidily.
func within(limit time.Duration, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

func parseFlags(sets cliflag.NamedFlagSets, args []string) error {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.Usage = func() {} // hundreds of lines
	for _, f := range sets.FlagSets {
		flags.AddFlagSet(f)
	}
	return flags.Parse(args)
}

// runAPIServer is the body of the kube-apiserver command without the command: cobra's
// would install its own signal handling, and would not take a listener that is already bound.
func runAPIServer(ctx context.Context, args []string, ln net.Listener) error {
	s := apioptions.NewServerRunOptions()
	if err := parseFlags(s.Flags(), args); err != nil {
		return err
	}
	s.SecureServing.Listener, s.SecureServing.BindPort = ln, ln.Addr().(*net.TCPAddr).Port
	if err := s.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	if err := logsapi.ValidateAndApply(s.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	completed, err := s.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return utilerrors.NewAggregate(errs)
	}
	s.GenericServerRunOptions.ComponentGlobalsRegistry.AddMetrics()
	utilfeature.DefaultMutableFeatureGate.AddMetrics()
	return apiserver.Run(ctx, completed)
}

// runControllers is the body of the kube-controller-manager command. Feature gates and
// logging are process-wide and were set by the API server: setting them twice fails.
func runControllers(ctx context.Context, args []string) error {
	s, err := kcmoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	known, disabled, aliases := kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases()
	sets := s.Flags(known, disabled, aliases)
	s.ParsedFlags = &sets
	if err := parseFlags(sets, args); err != nil {
		return err
	}
	c, err := s.Config(ctx, known, disabled, aliases)
	if err != nil {
		return err
	}
	return kcm.Run(ctx, c.Complete())
}
