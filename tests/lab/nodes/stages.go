// This file turns rules into KWOK stages: when a pod is due for a new status. The statuses are made in status.go.
package nodes

import (
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

// podLifecycle returns the stages of all pods under a set of rules.
func podLifecycle(rules []Rule) (lifecycle.Lifecycle, error) {
	rules = append(append([]Rule{}, rules...), builtIn...)
	behaviour := firstMatch(rules, func(r Rule) string { return string(r.Behaviour) }, string(Ready))
	delay := firstMatch(rules, func(r Rule) string { return r.Delay }, defaultDelay)
	deleteDelay := firstMatch(rules, func(r Rule) string { return r.DeleteDelay }, defaultDeleteDelay)

	const (
		deleted    = ".metadata.deletionTimestamp"
		finalizers = ".metadata.finalizers"
		phase      = ".status.phase"
		podIP      = ".status.podIP"
		ready      = `.status.conditions.[] | select( .type == "Ready" ) | .status`
		waiting    = ".status.containerStatuses.[].state.waiting.reason"
		running    = ".status.containerStatuses.[].state.running.startedAt"
		jobOwner   = ".metadata.ownerReferences.[].kind"
	)
	alive := []internalversion.MatchExpression{missing(deleted), notIn(phase, "Succeeded", "Failed")}
	started := func(b Behaviour, more ...internalversion.MatchExpression) []internalversion.MatchExpression {
		return append(append(append([]internalversion.MatchExpression{}, alive...),
			exists(podIP), in(behaviour, string(b))), more...)
	}

	return lifecycle.NewLifecycle([]*internalversion.Stage{
		podStage("create", append(alive[:2:2], missing(podIP)), nil, patchStatus("create")),
		podStage("ready", started(Ready, notIn(ready, "True")), after(delay), patchStatus("ready")),
		// A readiness probe that starts to fail leaves the containers running.
		podStage("never-ready", started(NeverReady, notIn(`[ (`+ready+`), (`+running+` | type) ] | join(" ")`, "False string")),
			after(delay), patchStatus("never-ready")),
		podStage("image-pull", started(ImagePull, notIn(waiting, "ErrImagePull", "ImagePullBackOff")), after(delay),
			event("Warning", "Failed", "Failed to pull image: rpc error: code = NotFound desc = failed to pull and unpack image: not found"),
			patchStatus("pull-error")),
		podStage("image-pull-backoff", started(ImagePull, in(waiting, "ErrImagePull")), every(1000),
			event("Normal", "BackOff", "Back-off pulling image"), patchStatus("pull-backoff")),
		podStage("crash", started(Crash, notIn(waiting, "CrashLoopBackOff")), after(delay),
			event("Warning", "BackOff", "Back-off restarting failed container"), patchStatus("crash")),
		podStage("crash-again", started(Crash, in(waiting, "CrashLoopBackOff")), every(crashInterval.Milliseconds()),
			event("Warning", "BackOff", "Back-off restarting failed container"), patchStatus("crash")),
		// Helm hooks run Jobs: they are done a moment after they are Ready.
		podStage("complete", started(Ready, in(ready, "True"), in(jobOwner, "Job")), every(200), patchStatus("complete")),
		podStage("delete", []internalversion.MatchExpression{exists(deleted), missing(finalizers)}, after(deleteDelay),
			internalversion.StageStep{Delete: true}),
	})
}

// nodeLifecycle returns the one stage of nodes: their status, once. The leases are KWOK's lease controller's.
func nodeLifecycle() (lifecycle.Lifecycle, error) {
	ref := internalversion.StageResourceRef{APIGroup: "v1", Kind: "Node"}
	notReady := notIn(`.status.conditions.[] | select( .type == "Ready" ) | .status`, "True")
	stage := &internalversion.Stage{}
	stage.Name = "node-initialize"
	stage.Spec = internalversion.StageSpec{
		ResourceRef: ref,
		Selector:    &internalversion.StageSelector{MatchExpressions: []internalversion.MatchExpression{notReady}},
		Steps:       []internalversion.StageStep{patchStatusWith("{{ LabNodeStatus . }}")},
	}
	return lifecycle.NewLifecycle([]*internalversion.Stage{stage})
}

func podStage(name string, match []internalversion.MatchExpression, delay *internalversion.StageDelay,
	steps ...internalversion.StageStep,
) *internalversion.Stage {
	stage := &internalversion.Stage{}
	stage.Name = "pod-" + name
	stage.Spec = internalversion.StageSpec{
		ResourceRef: internalversion.StageResourceRef{APIGroup: "v1", Kind: "Pod"},
		Selector:    &internalversion.StageSelector{MatchExpressions: match},
		Delay:       delay,
		Steps:       steps,
	}
	return stage
}

func patchStatus(step string) internalversion.StageStep {
	return patchStatusWith("{{ LabPodStatus . " + quote(step) + " }}")
}

func patchStatusWith(template string) internalversion.StageStep {
	// A merge patch replaces lists as a whole: no reason or message of an earlier status stays behind.
	merge := internalversion.StagePatchTypeMergePatch
	return internalversion.StageStep{Patch: &internalversion.StagePatch{
		Subresource: "status", Root: "status", Template: template, Type: &merge,
	}}
}

func event(kind, reason, message string) internalversion.StageStep {
	return internalversion.StageStep{Event: &internalversion.StageEvent{Type: kind, Reason: reason, Message: message}}
}

func after(expression string) *internalversion.StageDelay {
	return &internalversion.StageDelay{DurationFrom: &internalversion.ExpressionFrom{
		JQ: &internalversion.ExpressionJQ{Expression: expression},
	}}
}

func every(milliseconds int64) *internalversion.StageDelay {
	return &internalversion.StageDelay{DurationMilliseconds: &milliseconds}
}

func in(key string, values ...string) internalversion.MatchExpression {
	return match(key, internalversion.SelectorOpIn, values...)
}

func notIn(key string, values ...string) internalversion.MatchExpression {
	return match(key, internalversion.SelectorOpNotIn, values...)
}

func exists(key string) internalversion.MatchExpression {
	return match(key, internalversion.SelectorOpExists)
}

func missing(key string) internalversion.MatchExpression {
	return match(key, internalversion.SelectorOpDoesNotExist)
}

func match(key string, operator internalversion.SelectorOperator, values ...string) internalversion.MatchExpression {
	return internalversion.MatchExpression{JQ: &internalversion.SelectorJQ{Key: key, Operator: operator, Values: values}}
}
