// This file runs the controller manager and the scheduler as goroutines.
// Their cobra commands would clash over feature gates, logging and signal handlers; options and Run do not.
package controlplane

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/component-base/cli/flag"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	kcmoptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// Managers are the controller manager and the scheduler, ready to run.
type Managers struct {
	kcm       *kcmoptions.KubeControllerManagerOptions
	scheduler *scheduleroptions.Options
}

// NewManagers parses both components' flags. Both share one registry of feature gates, which is set once at the end.
func NewManagers(kubeconfig string, files Files, hpaSync time.Duration) (*Managers, error) {
	kcmOpts, err := kcmoptions.NewKubeControllerManagerOptions()
	if err != nil {
		return nil, err
	}
	kcmFlags := kcmOpts.Flags(kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	kcmOpts.ParsedFlags = &kcmFlags
	schedulerOpts := scheduleroptions.NewOptions()

	// Nobody scrapes these two: no port (0), and no election between one candidate.
	common := []string{"--kubeconfig=" + kubeconfig, "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=1000", "--kube-api-burst=2000"}
	if err := parse(kcmFlags, append(common,
		"--root-ca-file="+files.CAFile,
		"--service-account-private-key-file="+files.ServiceAccountKey,
		"--use-service-account-credentials=false",
		fmt.Sprintf("--horizontal-pod-autoscaler-sync-period=%s", hpaSync),
	)); err != nil {
		return nil, fmt.Errorf("parse controller manager flags: %w", err)
	}
	if err := parse(*schedulerOpts.Flags, common); err != nil {
		return nil, fmt.Errorf("parse scheduler flags: %w", err)
	}
	if err := kcmOpts.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, err
	}
	return &Managers{kcm: kcmOpts, scheduler: schedulerOpts}, nil
}

func parse(sets flag.NamedFlagSets, args []string) error {
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		all.AddFlagSet(set)
	}
	return all.Parse(args)
}

// RunControllers runs the controller manager until ctx ends.
func (m *Managers) RunControllers(ctx context.Context) error {
	config, err := m.kcm.Config(ctx, kcm.KnownControllers(), kcm.ControllersDisabledByDefault(), kcm.ControllerAliases())
	if err != nil {
		return fmt.Errorf("configure controller manager: %w", err)
	}
	return kcm.Run(ctx, config.Complete())
}

// RunScheduler runs the scheduler until ctx ends.
func (m *Managers) RunScheduler(ctx context.Context) error {
	config, sched, err := scheduler.Setup(ctx, m.scheduler)
	if err != nil {
		return fmt.Errorf("configure scheduler: %w", err)
	}
	return scheduler.Run(ctx, config, sched)
}
