// Package nodes simulates nodes and pods with KWOK's controllers. This file: what pods do, and for which pods.
package nodes

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Behaviour is what happens to a pod after it was bound to a node.
type Behaviour string

// The behaviours a rule can ask for.
const (
	// Ready: containers run, the pod becomes Ready.
	Ready Behaviour = "ready"
	// NeverReady: containers run, the readiness probe never succeeds.
	NeverReady Behaviour = "never-ready"
	// ImagePull: ErrImagePull, then ImagePullBackOff.
	ImagePull Behaviour = "image-pull"
	// Crash: containers exit 1 again and again, CrashLoopBackOff with rising restarts.
	Crash Behaviour = "crash"
	// Stuck: nothing happens, containers stay in ContainerCreating.
	Stuck Behaviour = "stuck"
)

// Rule gives a behaviour to the pods that match all of its patterns; the first rule that matches wins.
type Rule struct {
	// Image, Namespace and Name are regular expressions (unanchored); Image must match one container's image.
	Image     string `json:"image,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Label is `key=value`.
	Label string `json:"label,omitempty"`
	// Behaviour defaults to "ready".
	Behaviour Behaviour `json:"behaviour,omitempty"`
	// Delay is how long the behaviour takes to show, e.g. "5s"; 100ms when empty.
	Delay string `json:"delay,omitempty"`
	// DeleteDelay is how long a deleted pod stays, e.g. "20s"; 100ms when empty.
	DeleteDelay string `json:"deleteDelay,omitempty"`
}

const (
	defaultDelay       = "100ms"
	defaultDeleteDelay = "100ms"
	crashInterval      = 2 * time.Second
)

// builtIn rules come after all others: what a kubelet does with a gateway that the injector never saw.
var builtIn = []Rule{{Image: "^auto$", Behaviour: ImagePull}}

// Validate fills the defaults and refuses what KWOK would only notice later.
func (r *Rule) Validate() error {
	if r.Behaviour == "" {
		r.Behaviour = Ready
	}
	switch r.Behaviour {
	case Ready, NeverReady, ImagePull, Crash, Stuck:
	default:
		return fmt.Errorf("unknown behaviour %q", r.Behaviour)
	}
	for _, pattern := range []string{r.Image, r.Namespace, r.Name} {
		if _, err := regexp.Compile(pattern); err != nil {
			return err
		}
	}
	if r.Label != "" && !strings.Contains(r.Label, "=") {
		return fmt.Errorf("label %q is not key=value", r.Label)
	}
	for _, duration := range []*string{&r.Delay, &r.DeleteDelay} {
		if *duration == "" {
			continue
		}
		if _, err := time.ParseDuration(*duration); err != nil {
			return err
		}
	}
	return nil
}

// condition is the rule's patterns as one jq expression over a pod.
func (r Rule) condition() string {
	var all []string
	if r.Image != "" {
		all = append(all, fmt.Sprintf("any(.spec.containers[].image; test(%s))", quote(r.Image)))
	}
	if r.Namespace != "" {
		all = append(all, fmt.Sprintf("(.metadata.namespace | test(%s))", quote(r.Namespace)))
	}
	if r.Name != "" {
		all = append(all, fmt.Sprintf("(.metadata.name | test(%s))", quote(r.Name)))
	}
	if key, value, ok := strings.Cut(r.Label, "="); ok {
		all = append(all, fmt.Sprintf("((.metadata.labels // {})[%s] == %s)", quote(key), quote(value)))
	}
	if len(all) == 0 {
		return "true"
	}
	return strings.Join(all, " and ")
}

// firstMatch is a jq expression for one property of the first matching rule.
func firstMatch(rules []Rule, property func(Rule) string, otherwise string) string {
	expression := ""
	for _, rule := range rules {
		value := property(rule)
		if value == "" {
			value = otherwise
		}
		expression += fmt.Sprintf("if %s then %s else ", rule.condition(), quote(value))
	}
	return expression + quote(otherwise) + strings.Repeat(" end", len(rules))
}

func quote(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}
