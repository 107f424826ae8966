// This file is the body of the API server process: kube-apiserver's own code with the lab's service resolver and dialer.
package controlplane

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	utilfeature "k8s.io/apiserver/pkg/util/feature"
)

// ServeAPI runs an API server with kube-apiserver's flags until ctx ends.
func ServeAPI(ctx context.Context, routes Routes, args []string) error {
	app.SetServiceResolverForTests(routes)
	rest.SetDefaultWarningHandler(rest.NoWarnings{})

	opts := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	for _, set := range opts.Flags().FlagSets {
		flags.AddFlagSet(set)
	}
	logs.AddFlags(flags, logs.SkipLoggingConfigurationFlags())
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("parse API server flags: %w", err)
	}
	if err := opts.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(opts.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	completedOptions, err := opts.Complete(ctx)
	if err != nil {
		return fmt.Errorf("complete API server options: %w", err)
	}
	if errs := completedOptions.Validate(); len(errs) != 0 {
		return utilerrors.NewAggregate(errs)
	}
	config, err := app.NewConfig(completedOptions)
	if err != nil {
		return fmt.Errorf("configure API server: %w", err)
	}
	config.KubeAPIs.ControlPlane.ProxyTransport.DialContext = DialLoopback
	completed, err := config.Complete()
	if err != nil {
		return err
	}
	server, err := app.CreateServerChain(completed)
	if err != nil {
		return fmt.Errorf("create API server: %w", err)
	}
	prepared, err := server.PrepareRun()
	if err != nil {
		return err
	}
	return prepared.Run(ctx)
}
