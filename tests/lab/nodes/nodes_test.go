// Tests of the rules: which pods get which stage, and which status that stage writes.
package nodes

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kwok/pkg/utils/lifecycle"
)

// pod is a pod that was bound and has reached the status after a step; no step means none at all.
func pod(t *testing.T, image, step string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", UID: "u", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
	if step != "" {
		advance(t, p, step)
	}
	return p
}

func advance(t *testing.T, p *corev1.Pod, step string) {
	t.Helper()
	text, err := (&statuses{}).podStatus(p, step)
	if err != nil {
		t.Fatal(err)
	}
	p.Status = corev1.PodStatus{}
	if err := json.Unmarshal([]byte(text), &p.Status); err != nil {
		t.Fatal(err)
	}
}

// check asserts the next stage of a pod under rules, and after which delay.
func check(t *testing.T, rules []Rule, p *corev1.Pod, wantStage string, wantDelay time.Duration) {
	t.Helper()
	for i := range rules {
		if err := rules[i].Validate(); err != nil {
			t.Fatal(err)
		}
	}
	stages, err := podLifecycle(rules)
	if err != nil {
		t.Fatal(err)
	}
	event := &lifecycle.Event{Labels: p.Labels, Annotations: p.Annotations, Data: p}
	stage, err := stages.Match(context.Background(), event)
	if err != nil {
		t.Fatal(err)
	}
	if stage == nil {
		if wantStage != "" {
			t.Errorf("no stage, want %s", wantStage)
		}
		return
	}
	delay, _, err := stage.Delay(context.Background(), event, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if stage.Name() != wantStage || delay != wantDelay {
		t.Errorf("stage %s after %s, want %s after %s", stage.Name(), delay, wantStage, wantDelay)
	}
}

func TestPodsBecomeReadyByDefault(t *testing.T) {
	check(t, nil, pod(t, "web:1", ""), "pod-create", 0)
	check(t, nil, pod(t, "web:1", "create"), "pod-ready", 100*time.Millisecond)
	check(t, nil, pod(t, "web:1", "ready"), "", 0)
}

func TestImageAutoCannotBePulled(t *testing.T) {
	p := pod(t, "auto", "create")
	check(t, nil, p, "pod-image-pull", 100*time.Millisecond)
	advance(t, p, "pull-error")
	check(t, nil, p, "pod-image-pull-backoff", time.Second)
	advance(t, p, "pull-backoff")
	check(t, nil, p, "", 0)
}

func TestFirstMatchingRuleWins(t *testing.T) {
	rules := []Rule{{Image: "other", Behaviour: Crash}, {Namespace: "^shop$", Delay: "7s"}, {Label: "app=web", Behaviour: Crash}}
	check(t, rules, pod(t, "web:1", "create"), "pod-ready", 7*time.Second)
	check(t, rules[2:], pod(t, "web:1", "create"), "pod-crash", 100*time.Millisecond)
	check(t, []Rule{{Name: "^db"}, {Behaviour: Stuck}}, pod(t, "web:1", "create"), "", 0)
}

func TestCrashingPodRestartsAgainAndHealsWhenTheRuleGoes(t *testing.T) {
	rules := []Rule{{Behaviour: Crash}}
	p := pod(t, "web:1", "create")
	advance(t, p, "crash")
	check(t, rules, p, "pod-crash-again", crashInterval)
	advance(t, p, "crash")
	status := p.Status.ContainerStatuses[0]
	if status.RestartCount != 2 || status.State.Waiting.Reason != "CrashLoopBackOff" || status.LastTerminationState.Terminated.ExitCode != 1 {
		t.Errorf("status is %+v", status)
	}
	check(t, nil, p, "pod-ready", 100*time.Millisecond)
}

func TestReadyPodCanLoseReadiness(t *testing.T) {
	rules := []Rule{{Behaviour: NeverReady}}
	p := pod(t, "web:1", "create")
	advance(t, p, "ready")
	check(t, rules, p, "pod-never-ready", 100*time.Millisecond)
	advance(t, p, "never-ready")
	check(t, rules, p, "", 0)
	if p.Status.ContainerStatuses[0].State.Running == nil || p.Status.ContainerStatuses[0].Ready {
		t.Errorf("container is %+v", p.Status.ContainerStatuses[0])
	}
}

func TestDeletedPodStaysForItsDelay(t *testing.T) {
	p := pod(t, "web:1", "ready")
	now := metav1.Now()
	p.DeletionTimestamp = &now
	check(t, []Rule{{DeleteDelay: "20s"}}, p, "pod-delete", 20*time.Second)
}

func TestRulesThatMeanNothingAreRefused(t *testing.T) {
	for _, rule := range []Rule{{Behaviour: "lazy"}, {Image: "("}, {Delay: "soon"}, {Label: "app"}} {
		if err := rule.Validate(); err == nil {
			t.Errorf("%+v was accepted", rule)
		}
	}
}

func TestPodsKeepTheirAddress(t *testing.T) {
	s := &statuses{}
	first, second := s.address("a"), s.address("b")
	if first == second || s.address("a") != first {
		t.Errorf("addresses %s and %s", first, second)
	}
}
