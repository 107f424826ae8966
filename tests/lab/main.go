// Command meshrun-lab runs a Kubernetes control plane for tests: see README.md.
package main

import (
	"flag"
	"fmt"
	"os"
)

// command is one subcommand.
type command struct {
	name    string
	summary string
	run     func(args []string) error
}

var commands []command

func init() {
	// Assigned here because help lists the commands that it is one of.
	commands = []command{
		{"up", "start a lab; prints the path of its kubeconfig as the last line", up},
		{"down", "end a lab", down},
		{"reset", "bring a running lab back to the empty cluster it started with", reset},
		{"ctl", "show or change a running lab: routes, double, loadbalancer, pods, apiserver", ctl},
		{"fault", "add, list and clear rules of the fault proxy", fault},
		{"apiserver", "(internal) the API server's process", apiserver},
		{"help", "show this text", help},
	}
}

func main() {
	if len(os.Args) < 2 {
		_ = help(nil)
		os.Exit(2)
	}
	for _, command := range commands {
		if command.name != os.Args[1] {
			continue
		}
		if err := command.run(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			os.Exit(1)
		}
		return
	}
	fmt.Fprintf(os.Stderr, "error: unknown command %q\n", os.Args[1])
	_ = help(nil)
	os.Exit(2)
}

func help([]string) error {
	fmt.Fprintln(os.Stderr, "meshrun-lab: a Kubernetes control plane for tests\n\nCommands:")
	for _, command := range commands {
		fmt.Fprintf(os.Stderr, "  %-10s %s\n", command.name, command.summary)
	}
	fmt.Fprintln(os.Stderr, "\n`meshrun-lab COMMAND -h` lists a command's flags.")
	return nil
}

// newFlags returns a flag set with the one flag that all commands have.
func newFlags(name, usage string) (*flag.FlagSet, *string) {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	dir := flags.String("dir", "", "directory of the lab (required)")
	flags.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: meshrun-lab %s\n\n", usage)
		flags.PrintDefaults()
	}
	return flags, dir
}
