// This file writes caBundle and failurePolicy into the webhook configurations, as updates by `pilot-discovery`.
package double

import (
	"bytes"
	"context"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// work does what is due now. It is called every tick; errors (conflicts, a dead API server) are left to the next one.
func (i *instance) work(ctx context.Context, settings Settings) {
	age := time.Since(i.started)
	if age >= settings.CABundleDelay.Std() {
		i.patchMutating(ctx, settings)
		i.patchValidating(ctx, settings, age >= settings.FailurePolicyDelay.Std())
	}
	// Writing residue looks at every namespace, which need not happen on each tick.
	if settings.Residue && time.Since(i.residue) >= 200*time.Millisecond {
		i.writeResidue(ctx)
		i.residue = time.Now()
	}
}

func (i *instance) patchMutating(ctx context.Context, settings Settings) {
	configurations, _ := i.manager.mutating.List(labels.Everything())
	for _, configuration := range configurations {
		if !settings.Repatch && i.patched["ca/"+string(configuration.UID)] {
			continue
		}
		changed, any := configuration.DeepCopy(), false
		for n := range changed.Webhooks {
			any = i.setCABundle(&changed.Webhooks[n].ClientConfig) || any
		}
		if !any {
			continue
		}
		_, err := i.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Update(ctx, changed, metav1.UpdateOptions{})
		if err == nil {
			i.patched["ca/"+string(configuration.UID)] = true
			i.logf("info\tPatching webhook configuration %s with caBundle", configuration.Name)
		}
	}
}

func (i *instance) patchValidating(ctx context.Context, settings Settings, fail bool) {
	configurations, _ := i.manager.validating.List(labels.Everything())
	for _, configuration := range configurations {
		id := "ca/" + string(configuration.UID)
		if fail {
			id = "fail/" + string(configuration.UID)
		}
		if !settings.Repatch && i.patched[id] {
			continue
		}
		changed, any := configuration.DeepCopy(), false
		for n := range changed.Webhooks {
			webhook := &changed.Webhooks[n]
			if !i.owns(webhook.ClientConfig) {
				continue
			}
			any = i.setCABundle(&webhook.ClientConfig) || any
			if policy := admissionv1.Fail; fail && (webhook.FailurePolicy == nil || *webhook.FailurePolicy != policy) {
				webhook.FailurePolicy, any = &policy, true
			}
		}
		if !any {
			continue
		}
		_, err := i.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Update(ctx, changed, metav1.UpdateOptions{})
		if err == nil {
			i.patched[id] = true
			i.logf("info\tvalidationController\tSuccessfully updated validating webhook %s (failurePolicy=%s)",
				configuration.Name, *changed.Webhooks[0].FailurePolicy)
		}
	}
}

// owns reports whether a webhook calls this instance's Service.
func (i *instance) owns(config admissionv1.WebhookClientConfig) bool {
	return config.Service != nil && config.Service.Namespace == i.key.namespace && config.Service.Name == i.service
}

func (i *instance) setCABundle(config *admissionv1.WebhookClientConfig) bool {
	if !i.owns(*config) || bytes.Equal(config.CABundle, i.ca.Cert) {
		return false
	}
	config.CABundle = i.ca.Cert
	return true
}
